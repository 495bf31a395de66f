package client

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/machine"
)

func configFile(t *testing.T, c *clientconfig.Context) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	file := &clientconfig.Config{Context: "one", Contexts: map[string]*clientconfig.Context{"one": c}}
	if err := file.Write(path); err != nil {
		t.Fatal(err)
	}

	return path
}

func TestTargets(t *testing.T) {
	for name, test := range map[string]struct {
		file             clientconfig.Context
		options          Options
		endpoints, nodes []string
		targets          []string
		err              string
	}{
		"one endpoint answers for itself": {file: clientconfig.Context{Endpoints: []string{"10.0.0.1"}}, endpoints: []string{"10.0.0.1:50000"}, targets: []string{"10.0.0.1"}},
		"nodes of the file":               {file: clientconfig.Context{Endpoints: []string{"10.0.0.1:6000"}, Nodes: []string{"a", "b"}}, endpoints: []string{"10.0.0.1:6000"}, nodes: []string{"a", "b"}, targets: []string{"a", "b"}},
		"flags win": {
			file: clientconfig.Context{Endpoints: []string{"10.0.0.1"}, Nodes: []string{"a"}}, options: Options{Endpoints: []string{"fd00::1"}, Nodes: []string{"c"}},
			endpoints: []string{"[fd00::1]:50000"}, nodes: []string{"c"}, targets: []string{"c"},
		},
		"a node is an endpoint":   {options: Options{Nodes: []string{"10.0.0.5"}}, endpoints: []string{"10.0.0.5:50000"}, nodes: []string{"10.0.0.5"}, targets: []string{"10.0.0.5"}},
		"many endpoints, no node": {file: clientconfig.Context{Endpoints: []string{"a", "b"}}, err: "which node?"},
		"no endpoint":             {err: "has no endpoints"},
		"no such context":         {options: Options{Context: "two"}, err: `no context "two"`},
		"insecure needs a node":   {options: Options{Insecure: true}, err: "--insecure talks to the node itself"},
		"insecure":                {options: Options{Insecure: true, Nodes: []string{"10.0.0.7"}}, endpoints: []string{"10.0.0.7:50000"}, targets: []string{"10.0.0.7"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.Config = configFile(t, &test.file)
			c, err := Open(test.options)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("%v, want %q", err, test.err)
				}

				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if !slices.Equal(c.Endpoints, test.endpoints) || !slices.Equal(c.Nodes, test.nodes) || !slices.Equal(c.Targets(), test.targets) {
				t.Errorf("endpoints %v, nodes %v, targets %v", c.Endpoints, c.Nodes, c.Targets())
			}
		})
	}
}

func TestNoConfigurationFile(t *testing.T) {
	_, err := Open(Options{Config: filepath.Join(t.TempDir(), "none")})
	var none *NoConfigError
	if !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("contexts: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Config: broken}); err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("the error does not name the file: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	c := &Client{Nodes: []string{"a", "b"}, Endpoints: []string{"e:50000"}}
	md, _ := metadata.FromOutgoingContext(c.ToNode(c.ToNodes(t.Context()), "b"))
	if len(md.Get("nodes")) != 0 || !slices.Equal(md.Get("node"), []string{"b"}) {
		t.Errorf("a call to one node goes to %v", md)
	}
	md, _ = metadata.FromOutgoingContext(c.ToNodes(t.Context()))
	if !slices.Equal(md.Get("nodes"), []string{"a", "b"}) {
		t.Errorf("a call to all goes to %v", md)
	}
	if md, ok := metadata.FromOutgoingContext((&Client{Endpoints: []string{"e:1"}}).ToNode(t.Context(), "e")); ok {
		t.Errorf("the endpoint itself is addressed by %v", md)
	}
	if node := c.NodeOf(&machine.Version{}); node != "a" {
		t.Errorf("an answer without a name is from %q", node)
	}
}

func TestOnlyIdempotentCallsAreRetried(t *testing.T) {
	for method, want := range map[string]bool{
		"/machine.MachineService/Version": true, "/machine.MachineService/ServiceList": true, "/cosi.resource.State/Watch": true,
		"/machine.MachineService/Reboot": false, "/machine.MachineService/Bootstrap": false, "/machine.MachineService/ApplyConfiguration": false,
	} {
		if idempotent(method) != want {
			t.Errorf("%s is retried: %v", method, !want)
		}
	}
}

func TestAgain(t *testing.T) {
	away := status.Error(codes.Unavailable, "away")
	calls := 0
	err := Again(t.Context(), func() (bool, error) {
		if calls++; calls < 4 {
			return true, away
		}

		return true, nil
	})
	if err != nil || calls != 4 {
		t.Errorf("%d calls, %v", calls, err)
	}
	refused := status.Error(codes.PermissionDenied, "no")
	if err := Again(t.Context(), func() (bool, error) { return false, refused }); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := Again(ctx, func() (bool, error) { return false, away }); err != nil {
		t.Errorf("an interrupted stream is no error: %v", err)
	}
}

func TestExplainKeepsWhatItDoesNotKnow(t *testing.T) {
	plain := errors.New("something else")
	if got := Explain(plain, nil); !errors.Is(got, plain) || got.Error() != plain.Error() {
		t.Errorf("%v", got)
	}
	denied := Explain(&NodeError{Node: "10.0.0.1", Err: status.Error(codes.PermissionDenied, "not authorized")}, []string{"10.0.0.2"})
	if !strings.HasPrefix(denied.Error(), "10.0.0.1: not authorized\n") || !strings.Contains(denied.Error(), "config info") {
		t.Errorf("%v", denied)
	}
	own := "time server time.cloudflare.com: lookup time.cloudflare.com: i/o timeout"
	if got := Explain(status.Error(codes.DeadlineExceeded, own), []string{"10.0.0.1"}); got.Error() != own {
		t.Errorf("a daemon's words became %v", got)
	}
	silent := Explain(status.Error(codes.DeadlineExceeded, "context deadline exceeded"), []string{"10.0.0.1"})
	if !strings.Contains(silent.Error(), "the limit is 25s") {
		t.Errorf("the deadline is not shown: %v", silent)
	}
}

func TestAnotherDaemonsPort(t *testing.T) {
	err := Explain(&NodeError{Node: "10.0.0.1", Err: status.Error(codes.Unimplemented, "unknown service cosi.resource.State")}, []string{"10.0.0.1:50001"})
	want := "10.0.0.1:50001 is no gateway: unknown service cosi.resource.State\n  likely cause: port 50001 belongs to another daemon\n  next: leave the port out: a gateway's is 50000"
	if err.Error() != want {
		t.Errorf("%v", err)
	}
}
