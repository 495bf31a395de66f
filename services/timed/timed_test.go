package timed_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	cosistate "github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	types "github.com/dactyl-os/dactyl/proto/resource"
	timeres "github.com/dactyl-os/dactyl/proto/resource/time"
	timeapi "github.com/dactyl-os/dactyl/proto/time"
	"github.com/dactyl-os/dactyl/services/kit/kittest"

	"github.com/dactyl-os/dactyl/services/timed/internal/sntp/sntptest"
)

func TestMain(m *testing.M) {
	if err := types.Register(); err != nil {
		panic(err)
	}

	os.Exit(m.Run())
}

// start runs timed alone; none of these daemons may set a clock.
func start(t *testing.T, cmdline, machineTime string) *kittest.Daemon {
	t.Helper()
	kittest.RequireRoot(t)

	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), []byte(cmdline), 0o644); err != nil {
		t.Fatal(err)
	}

	return kittest.Start(t, "./cmd/timed", kittest.Options{
		Root: root, Config: "version: v1alpha1\nmachine:\n  time:\n" + machineTime,
	})
}

func awaitStatus(t *testing.T, d *kittest.Daemon, want timeres.StatusSpec) {
	t.Helper()

	kittest.AwaitNoError(t, 5*time.Second, func() error {
		res, err := get(t, d, timeres.NewStatus(timeres.NamespaceName, timeres.StatusID))
		if err != nil {
			return err
		}

		if got := *res.(*timeres.Status).TypedSpec(); got != want {
			return fmt.Errorf("got %+v, want %+v", got, want)
		}

		return nil
	})
}

func get(t *testing.T, d *kittest.Daemon, r resource.Resource) (resource.Resource, error) {
	st := cosistate.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(d.Conn())))

	return st.Get(t.Context(), r.Metadata())
}

func TestWatched(t *testing.T) {
	server := sntptest.Start(t, sntptest.Behaviour{}).Address
	d := start(t, "", "    servers: [\"127.0.0.1:1\", \""+server+"\"]\n")

	awaitStatus(t, d, timeres.StatusSpec{Synced: true})

	res, err := get(t, d, timeres.NewAdjtimeStatus(timeres.NamespaceName, timeres.AdjtimeStatusID))
	if err != nil || !strings.HasPrefix(res.(*timeres.AdjtimeStatus).TypedSpec().State, "TIME_") {
		t.Errorf("%v %v", res, err)
	}
}

// TestWrongClock: the server is an hour ahead. A daemon that may not set the clock says so and leaves it.
func TestWrongClock(t *testing.T) {
	server := sntptest.Start(t, sntptest.Behaviour{Offset: time.Hour}).Address
	before := time.Now()
	d := start(t, "talos.platform=metal", "    bootTimeout: 2s\n    servers: [\""+server+"\"]\n")

	awaitStatus(t, d, timeres.StatusSpec{})

	answer, err := timeapi.NewTimeServiceClient(d.Conn()).Time(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}

	m := answer.Messages[0]
	if ahead := m.Remotetime.AsTime().Sub(m.Localtime.AsTime()); (ahead-time.Hour).Abs() > time.Second || m.Server != server {
		t.Errorf("%s ahead by %s", m.Server, ahead)
	}

	// The boot does not wait for ever.
	awaitStatus(t, d, timeres.StatusSpec{Synced: true})

	if time.Since(before) > time.Minute || time.Now().Round(0).Sub(before.Round(0)) > time.Minute {
		t.Error("the clock of this machine was set")
	}
}

func TestContainer(t *testing.T) {
	awaitStatus(t, start(t, "talos.platform=container", "    servers: [\"127.0.0.1:1\"]\n"),
		timeres.StatusSpec{Synced: true, SyncDisabled: true})
}

func TestDisabled(t *testing.T) {
	awaitStatus(t, start(t, "talos.platform=metal", "    disabled: true\n"), timeres.StatusSpec{Synced: true, SyncDisabled: true})
}

func TestTimeCheck(t *testing.T) {
	d := start(t, "talos.platform=container", "    disabled: true\n")
	api := timeapi.NewTimeServiceClient(d.Conn())
	silent := sntptest.Start(t, sntptest.Behaviour{Silent: true}).Address

	for server, want := range map[string]string{
		"":            "InvalidArgument: the request names no time server",
		"127.0.0.1:1": "Unknown: time server 127.0.0.1:1: ",
		silent:        "DeadlineExceeded: time server " + silent + ": no answer within 3s",
	} {
		_, err := api.TimeCheck(t.Context(), &timeapi.TimeRequest{Server: server})
		if got := fmt.Sprintf("%s: %s", status.Code(err), status.Convert(err).Message()); !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %q, want %q", server, got, want)
		}
	}

	if _, err := api.Time(t.Context(), &emptypb.Empty{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("without servers: %v", err)
	}

	answer, err := api.TimeCheck(t.Context(), &timeapi.TimeRequest{Server: sntptest.Start(t, sntptest.Behaviour{}).Address})
	if err != nil || len(answer.Messages) != 1 {
		t.Error(answer, err)
	}
}
