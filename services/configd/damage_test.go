package configd_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// kind gives what configd says about the machine: a type, "unknown" without a configuration, "" when it says nothing.
func (n node) kind() string {
	n.t.Helper()

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	r, err := safe.StateGetByID[*configres.MachineType](ctx, n.state(), configres.MachineTypeID)
	if state.IsNotFoundError(err) {
		return ""
	}

	if err != nil {
		n.t.Fatal(err)
	}

	return r.TypedSpec().Value.String()
}

// listeningInit remembers what is reported to it.
type listeningInit struct {
	initv1.UnimplementedInitServiceServer

	mu       sync.Mutex
	reported []string
}

func (l *listeningInit) Report(_ context.Context, in *initv1.ReportRequest) (*initv1.ReportResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.reported = append(l.reported, in.GetState()+": "+in.GetMessage())

	return &initv1.ReportResponse{}, nil
}

func (l *listeningInit) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()

	if len(l.reported) == 0 {
		return ""
	}

	return l.reported[len(l.reported)-1]
}

// listen serves init's socket in a run directory of its own.
func listen(t *testing.T) (*listeningInit, string) {
	t.Helper()

	dir, err := os.MkdirTemp("", "kit")
	if err != nil {
		t.Fatal(err)
	}

	listener, err := net.Listen("unix", filepath.Join(dir, "init.sock"))
	if err != nil {
		t.Fatal(err)
	}

	server, heard := grpc.NewServer(), &listeningInit{}
	initv1.RegisterInitServiceServer(server, heard)

	go server.Serve(listener) //nolint:errcheck // ends with the test

	t.Cleanup(func() {
		server.Stop()
		os.RemoveAll(dir)
	})

	return heard, dir
}

func (n node) write(name, text string) {
	n.t.Helper()

	if err := os.WriteFile(filepath.Join(n.StateDir, name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// TestDamagedConfiguration: one damaged file of the two is mended; with both damaged configd does not say that there is no
// configuration, says why to init, and goes on once the file is back.
func TestDamagedConfiguration(t *testing.T) {
	heard, run := listen(t)
	n := start(t, kittest.Options{RunDir: run})

	if n.kind() != "unknown" || heard.last() != "" {
		t.Errorf("a new machine: type %q, %s", n.kind(), heard.last())
	}

	want := string(hostConfig(t, "dear", ""))
	n.mustApply([]byte(want), auto)

	for _, damaged := range []string{"", want[:len(want)/2], strings.Replace(want, "machine:", "mac\xffine:", 1)} {
		n.Kill()
		n.write("config.yaml", damaged)
		n.Launch()

		if n.active() != want || n.file("config.yaml") != want || n.kind() != "worker" {
			t.Errorf("not mended from its copy after %.20q", damaged)
		}
	}

	n.Kill()
	n.write("config.yaml", want[:len(want)/2])
	n.write("config.good", "")
	n.Launch()

	if n.kind() != "" || n.active() != "" {
		t.Errorf("with both files damaged it says %q", n.kind())
	}

	kittest.Await(t, 10*time.Second, "init is told", func() bool {
		return strings.HasPrefix(heard.last(), "Failed: ") && strings.Contains(heard.last(), "config.yaml") && strings.Contains(heard.last(), "kept shut")
	})

	n.write("config.yaml", want)
	kittest.Await(t, 20*time.Second, "the file that was put back is taken", func() bool { return n.active() == want && n.kind() == "worker" })
	kittest.Await(t, 10*time.Second, "init is told", func() bool { return strings.HasPrefix(heard.last(), "Running: ") })
}

// TestAdministratorReplacesDamagedConfiguration: what came in by its own ways is taken, and the damaged bytes are kept.
func TestAdministratorReplacesDamagedConfiguration(t *testing.T) {
	n := start(t, kittest.Options{})
	n.Kill()
	n.write("config.yaml", "machine: [")
	n.Launch()

	want := hostConfig(t, "new", "")
	n.mustApply(want, auto)

	if n.active() != string(want) || n.file("config.yaml.damaged") != "machine: [" {
		t.Error("not taken, or the damaged one is gone")
	}
}

// TestUnusableUserdata: what was meant for the machine and is no configuration is not the same as nothing.
func TestUnusableUserdata(t *testing.T) {
	for _, text := range []string{"%", base64.StdEncoding.EncodeToString([]byte("machine: [")), base64.StdEncoding.EncodeToString([]byte("a: b\n"))} {
		if n := start(t, kittest.Options{Env: []string{"USERDATA=" + text}}); n.kind() != "" {
			t.Errorf("%s: it says %q", text, n.kind())
		}
	}
}

// TestUnusableByURL: while a server has something that is no configuration the machine says nothing, without anything it says
// that there is none. Nothing of what gets one in is told, not by a redirect either.
func TestUnusableByURL(t *testing.T) {
	const secret = "hidden-word"

	var (
		mu    sync.Mutex
		place string
	)

	answer := func(next string) {
		mu.Lock()
		defer mu.Unlock()

		place = next
	}

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()

		switch {
		case r.URL.Path == "/bad":
			fmt.Fprint(w, "machine: [")
		case place == "":
			w.WriteHeader(http.StatusNotFound)
		default:
			http.Redirect(w, r, place, http.StatusFound)
		}
	}))
	defer server.Close()

	host := strings.TrimPrefix(server.URL, "http://")
	answer("http://me:" + secret + "@" + host + "/bad?token=" + secret)

	heard, run := listen(t)
	n := start(t, kittest.Options{
		RunDir: run, Root: machineRoot(t, "talos.platform=metal talos.config=http://me:"+secret+"@"+host+"/m?token="+secret+"&u=${uuid}\n"),
	})

	kittest.Await(t, 20*time.Second, "init is told", func() bool { return strings.Contains(heard.last(), host+"/m: ") })

	if n.kind() != "" {
		t.Errorf("it says %q", n.kind())
	}

	for _, next := range []string{"http://me:" + secret + "@127.0.0.1:1/?" + secret, "/%zz?" + secret, "http://me:" + secret + "@a b/"} {
		asked := strings.Count(n.Log(), "no configuration yet")

		answer(next)
		kittest.Await(t, 30*time.Second, "another word", func() bool { return strings.Count(n.Log(), "no configuration yet") > asked })
	}

	answer("")
	kittest.Await(t, 30*time.Second, "there is nothing", func() bool { return n.kind() == "unknown" })

	if told := n.Log() + heard.last(); strings.Contains(told, secret) {
		t.Errorf("the secret is in what is told:\n%s", told)
	}
}
