package daemon_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"

	"github.com/dactyl-os/dactyl/proto/inspect"
	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"
	timeapi "github.com/dactyl-os/dactyl/proto/time"

	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

const pkg = "../internal/testdaemon/cmd/testdaemon"

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)

	return ctx
}

func stateOf(conn grpc.ClientConnInterface) state.State {
	testdaemon.Register()

	return state.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(conn)))
}

func pointer(typ, id string) resource.Metadata {
	return resource.NewMetadata(testdaemon.Namespace, typ, id, resource.VersionUndefined)
}

func TestServesMethodsAndResources(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{Env: []string{"TEST_ITEMS=135"}})
	ctx := within(t, 10*time.Second)

	if _, err := timeapi.NewTimeServiceClient(d.Conn()).Time(ctx, &emptypb.Empty{}); err != nil {
		t.Fatal(err)
	}

	st := stateOf(d.Conn())

	kittest.Await(t, 5*time.Second, "135 items", func() bool {
		list, err := st.List(ctx, pointer(testdaemon.ItemType, ""))

		return err == nil && len(list.Items) == 135
	})

	r, err := st.Get(ctx, pointer(testdaemon.ItemType, "item-007"))
	if err != nil {
		t.Fatal(err)
	}

	if got := r.(*testdaemon.Item).TypedSpec().Value; got != "7" {
		t.Errorf("value is %q", got)
	}

	if _, err := st.Get(ctx, pointer(testdaemon.ItemType, "nowhere")); !state.IsNotFoundError(err) {
		t.Errorf("a missing resource gives %v", err)
	}

	if _, err := st.Get(ctx, pointer(testdaemon.CopyType, "item-000")); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "owned by hostd") {
		t.Errorf("a type of another owner gives %v", err)
	}
}

// TestRefusesLargeRequests fills a request with a field that its message does not have.
func TestRefusesLargeRequests(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	padded := &emptypb.Empty{}
	padded.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, access.DefaultMaxRequest)))

	_, err := timeapi.NewTimeServiceClient(d.Conn()).Time(within(t, 10*time.Second), padded)
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a large request gives %v", err)
	}
}

func TestWritesThroughTheSocket(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	ctx := within(t, 10*time.Second)
	st := stateOf(d.Conn())
	item := testdaemon.NewItem(testdaemon.ItemType, "mine", "1")

	if err := st.Create(ctx, item); err != nil {
		t.Fatal(err)
	}

	if err := st.Create(ctx, testdaemon.NewItem(testdaemon.ItemType, "mine", "1")); !state.IsConflictError(err) {
		t.Errorf("creating twice gives %v", err)
	}

	updated, err := st.UpdateWithConflicts(ctx, item.Metadata(), func(r resource.Resource) error {
		r.(*testdaemon.Item).TypedSpec().Value = "2"

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	if updated.Metadata().Version().Value() != 2 {
		t.Errorf("version is %s", updated.Metadata().Version())
	}

	if err := st.Update(ctx, item); !state.IsConflictError(err) {
		t.Errorf("updating an old version gives %v", err)
	}

	// The cache of encoded resources must not survive a destroyed one.
	if err := st.Destroy(ctx, item.Metadata()); err != nil {
		t.Fatal(err)
	}

	if err := st.Create(ctx, testdaemon.NewItem(testdaemon.ItemType, "mine", "3")); err != nil {
		t.Fatal(err)
	}

	r, err := st.Get(ctx, item.Metadata())
	if err != nil || r.(*testdaemon.Item).TypedSpec().Value != "3" {
		t.Errorf("after creating it again: %v, %v", r, err)
	}
}

func withRoles(ctx context.Context, roles ...string) context.Context {
	for _, role := range roles {
		ctx = metadata.AppendToOutgoingContext(ctx, access.RoleKey, role)
	}

	return ctx
}

func TestWhoMayReadWhat(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{Env: []string{"TEST_ITEMS=1"}})
	ctx := within(t, 10*time.Second)
	gateway := d.ConnAs(t, "gateway")
	reader := d.ConnAs(t, testdaemon.Reader)
	other := d.ConnAs(t, "networkd")

	kittest.AwaitNoError(t, 5*time.Second, func() error {
		_, err := stateOf(d.Conn()).Get(ctx, pointer(testdaemon.SecretType, "key"))

		return err
	})

	const denied = "denied"

	for _, tc := range []struct {
		who  string
		conn *grpc.ClientConn
		ctx  context.Context
		typ  string
		id   string
		want string
	}{
		{"root's tool", d.Conn(), ctx, testdaemon.SecretType, "key", "hidden"},
		{"root's tool with a forged role", d.Conn(), withRoles(ctx, access.Reader), testdaemon.SecretType, "key", "hidden"},
		{"a reader of the type", reader, ctx, testdaemon.SecretType, "key", "hidden"},
		{"another daemon", other, ctx, testdaemon.SecretType, "key", "******"},
		{"another daemon with a forged role", other, withRoles(ctx, access.Admin), testdaemon.SecretType, "key", "******"},
		{"an administrator", gateway, withRoles(ctx, access.Admin), testdaemon.SecretType, "key", "hidden"},
		{"an operator", gateway, withRoles(ctx, access.Operator), testdaemon.SecretType, "key", denied},
		{"an operator who claims to be the gateway", gateway, metadata.AppendToOutgoingContext(withRoles(ctx, access.Operator), "dactyl-self", "1"), testdaemon.SecretType, "key", denied},
		{"the gateway itself", gateway, metadata.AppendToOutgoingContext(ctx, "dactyl-self", "1"), testdaemon.SecretType, "key", "******"},
		{"an operator", gateway, withRoles(ctx, access.Operator), testdaemon.ItemType, "item-000", "0"},
		{"several roles", gateway, withRoles(ctx, access.EtcdBackup, access.Reader), testdaemon.ItemType, "item-000", "0"},
		{"a role that does not read", gateway, withRoles(ctx, access.EtcdBackup), testdaemon.ItemType, "item-000", denied},
		{"no role", gateway, ctx, testdaemon.ItemType, "item-000", denied},
	} {
		t.Run(tc.who+" "+tc.typ, func(t *testing.T) {
			r, err := stateOf(tc.conn).Get(tc.ctx, pointer(tc.typ, tc.id))

			got := denied
			if err == nil {
				got = r.(*testdaemon.Item).TypedSpec().Value
			} else if status.Code(err) != codes.PermissionDenied {
				t.Fatal(err)
			}

			if got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
		})
	}
}

// TestWhoMayWriteWhat: the owner and a type's writers; outside nobody, whatever the role.
func TestWhoMayWriteWhat(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	ctx := within(t, 10*time.Second)

	for _, tc := range []struct {
		who, typ, role string
		want           string
	}{
		{testdaemon.Writer, testdaemon.ItemType, "", ""},
		{testdaemon.Writer, testdaemon.SecretType, "", "Secrets.test.dactyl.dev is written by testdaemon, not by networkd"},
		{testdaemon.Reader, testdaemon.ItemType, "", "Items.test.dactyl.dev is written by testdaemon, not by timed"},
		{testdaemon.Reader, testdaemon.ItemType, access.Admin, "is written by testdaemon, not by timed"},
		{"gateway", testdaemon.ItemType, access.Admin, "write access is not allowed"},
		{"gateway", testdaemon.CopyType, access.Admin, "write access is not allowed"},
		{"gateway", testdaemon.ItemType, access.Operator, "not authorized"},
		{"containerd", testdaemon.ItemType, "", "containerd may not call /cosi.resource.State/"},
	} {
		t.Run(tc.who+" "+tc.typ+" "+tc.role, func(t *testing.T) {
			st, ctx := stateOf(d.ConnAs(t, tc.who)), ctx
			if tc.role != "" {
				ctx = withRoles(ctx, tc.role)
			}

			item := testdaemon.NewItem(tc.typ, "x", "1")

			for _, write := range []struct {
				verb string
				do   func() error
			}{
				{"create", func() error { return st.Create(ctx, item) }},
				{"update", func() error {
					item.TypedSpec().Value = "2"

					return st.Update(ctx, item)
				}},
				{"destroy", func() error { return st.Destroy(ctx, item.Metadata()) }},
			} {
				switch err := write.do(); {
				case tc.want == "" && err != nil:
					t.Errorf("%s: %v", write.verb, err)
				case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
					t.Errorf("%s gives %v, want %q", write.verb, err, tc.want)
				}
			}
		})
	}
}

// TestDaemonsCallWhatNamesThem: a role widens nothing for a daemon, and a method that names no callers has none.
func TestDaemonsCallWhatNamesThem(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	ctx := within(t, 10*time.Second)

	for _, tc := range []struct {
		who  string
		ctx  context.Context
		want codes.Code
	}{
		{"timed", ctx, codes.PermissionDenied},
		{"timed", withRoles(ctx, access.Admin), codes.PermissionDenied},
		{"init", ctx, codes.PermissionDenied},
		{"gateway", ctx, codes.PermissionDenied},
		{"gateway", metadata.AppendToOutgoingContext(ctx, "dactyl-self", "1"), codes.PermissionDenied},
		{"gateway", withRoles(ctx, access.Reader), codes.OK},
	} {
		if _, err := timeapi.NewTimeServiceClient(d.ConnAs(t, tc.who)).Time(tc.ctx, &emptypb.Empty{}); status.Code(err) != tc.want {
			t.Errorf("%s gets %v, want %s", tc.who, err, tc.want)
		}
	}

	for who, want := range map[string]codes.Code{"init": codes.OK, "timed": codes.PermissionDenied} {
		if _, err := grpc_health_v1.NewHealthClient(d.ConnAs(t, who)).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); status.Code(err) != want {
			t.Errorf("health for %s gives %v, want %s", who, err, want)
		}
	}
}

func TestRefusesOrdinaryUsers(t *testing.T) {
	kittest.RequireRoot(t)

	d := kittest.Start(t, pkg, kittest.Options{})

	// The file modes would keep the user out already: open them, to see the second wall.
	for _, path := range []string{d.RunDir, d.Socket} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}

	probe := kittest.Build(t, "../internal/testdaemon/cmd/probe")
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}

	if out, err := runAs(t, nobody, probe, d.Socket); err == nil || !strings.Contains(out, "PermissionDenied") || !strings.Contains(out, "of user 65534 is none of this node's daemons and not in the cgroup of root's tools") {
		t.Errorf("user 65534 got: %s (%v)", out, err)
	}

	if out, err := runAs(t, nil, probe, d.Socket); err != nil {
		t.Errorf("root got: %s (%v)", out, err)
	}
}

func TestSocketIsForRootOnly(t *testing.T) {
	kittest.RequireRoot(t)

	d := kittest.Start(t, pkg, kittest.Options{})
	if err := os.Chmod(d.RunDir, 0o755); err != nil {
		t.Fatal(err)
	}

	info, err := os.Stat(d.Socket)
	if err != nil {
		t.Fatal(err)
	}

	if info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v", info.Mode())
	}
}

func TestPanicInMethodIsAnError(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	api := timeapi.NewTimeServiceClient(d.Conn())

	if _, err := api.TimeCheck(within(t, 5*time.Second), &timeapi.TimeRequest{Server: "panic"}); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "panic in /time.TimeService/TimeCheck: as asked") {
		t.Errorf("got %v", err)
	}

	if _, err := api.Time(within(t, 5*time.Second), &emptypb.Empty{}); err != nil {
		t.Errorf("the daemon did not survive: %v", err)
	}

	if !strings.Contains(d.Log(), "testdaemon.go") {
		t.Errorf("no stack in the log:\n%s", d.Log())
	}
}

func TestTaskThatFailsStopsTheDaemon(t *testing.T) {
	for behaviour, want := range map[string]string{
		"fail":  "testdaemon: task behaviour: failed as asked",
		"panic": "testdaemon: task behaviour: panic in behaviour: as asked",
	} {
		t.Run(behaviour, func(t *testing.T) {
			d := kittest.Launched(t, pkg, kittest.Options{Env: []string{"TEST_BEHAVIOUR=" + behaviour}})

			if err := d.Wait(within(t, 10*time.Second)); err == nil || err.Error() != "exit status 1" {
				t.Errorf("it ended with %v", err)
			}

			if !strings.Contains(d.Log(), want) {
				t.Errorf("%q is not in the log:\n%s", want, d.Log())
			}

			if behaviour == "panic" && !strings.Contains(d.Log(), "testdaemon.go") {
				t.Errorf("no stack in the log:\n%s", d.Log())
			}
		})
	}
}

func TestStopFinishesCallsAndEndsStreams(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	ctx := within(t, 10*time.Second)

	watch, err := v1alpha1.NewStateClient(d.Conn()).Watch(ctx, &v1alpha1.WatchRequest{Namespace: testdaemon.Namespace, Type: testdaemon.ItemType, ApiVersion: 1})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}

	called := make(chan error, 1)

	go func() {
		_, err := timeapi.NewTimeServiceClient(d.Conn()).TimeCheck(ctx, &timeapi.TimeRequest{Server: "300ms"})
		called <- err
	}()

	kittest.AwaitNoError(t, 5*time.Second, func() error {
		_, err := stateOf(d.Conn()).Get(ctx, pointer(testdaemon.ItemType, "waiting"))

		return err
	})

	if err := d.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}

	if err := <-called; err != nil {
		t.Errorf("the running call was cut: %v", err)
	}

	for err = nil; err == nil; {
		_, err = watch.Recv()
	}

	if status.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v", err)
	}
}

func TestWatchKeepsUp(t *testing.T) {
	const count = 3000

	d := kittest.Start(t, pkg, kittest.Options{Args: []string{"--log-level", "info"}})
	ctx := within(t, 60*time.Second)
	st := stateOf(d.Conn())
	ch := make(chan state.Event)

	if err := st.WatchKind(ctx, pointer(testdaemon.ItemType, ""), ch); err != nil {
		t.Fatal(err)
	}

	begin := time.Now()

	for writer := range 4 {
		go func() {
			for i := writer; i < count; i += 4 {
				if err := st.Create(ctx, testdaemon.NewItem(testdaemon.ItemType, strconv.Itoa(i), "")); err != nil {
					t.Error(err)

					return
				}
			}
		}()
	}

	for seen := map[string]bool{}; len(seen) < count; {
		select {
		case event := <-ch:
			if event.Type != state.Created {
				t.Fatalf("%s: %v", event.Type, event.Error)
			}

			seen[event.Resource.Metadata().ID()] = true
		case <-ctx.Done():
			t.Fatalf("only %d events", len(seen))
		}
	}

	t.Logf("%.0f events/s", count/time.Since(begin).Seconds())
}

func TestStopIsBounded(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{Env: []string{"TEST_BEHAVIOUR=hang"}, Args: []string{"--stop-timeout", "400ms"}})
	begin := time.Now()

	if err := d.Stop(within(t, 5*time.Second)); err == nil || err.Error() != "exit status 1" {
		t.Errorf("it ended with %v", err)
	}

	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("the stop took %s", took)
	}

	if !strings.Contains(d.Log(), "stop took too long, still running: behaviour") {
		t.Errorf("log:\n%s", d.Log())
	}
}

func TestSocketPath(t *testing.T) {
	t.Run("occupied by a file", func(t *testing.T) {
		run := t.TempDir()
		path := filepath.Join(run, "testdaemon.sock")

		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}

		d := kittest.Launched(t, pkg, kittest.Options{RunDir: run})
		if err := d.Wait(within(t, 5*time.Second)); err == nil || !strings.Contains(d.Log(), "is occupied by a regular file") {
			t.Errorf("%v:\n%s", err, d.Log())
		}

		if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
			t.Errorf("the file is now %q, %v", data, err)
		}
	})

	t.Run("left by a crash", func(t *testing.T) {
		d := kittest.Start(t, pkg, kittest.Options{})
		d.Restart()
	})

	t.Run("of a running daemon", func(t *testing.T) {
		d := kittest.Start(t, pkg, kittest.Options{})

		second := kittest.Launched(t, pkg, kittest.Options{RunDir: d.RunDir})
		if err := second.Wait(within(t, 5*time.Second)); err == nil || !strings.Contains(second.Log(), "is served by a running process") {
			t.Errorf("%v:\n%s", err, second.Log())
		}
	})
}

func TestTakesOverSocketsAndDeclaresReady(t *testing.T) {
	run := t.TempDir()
	path := filepath.Join(run, "testdaemon.sock")

	own, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()

	file, err := own.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}

	ready, notify, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}

	d := kittest.Start(t, pkg, kittest.Options{
		RunDir: run,
		Files:  []*os.File{file, notify},
		Env:    []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=testdaemon", "NOTIFY_FD=4"},
	})
	notify.Close()

	line := make([]byte, 64)

	n, err := ready.Read(line)
	if err != nil || string(line[:n]) != "VERSION=v1.8.4+dactyl.dev unknown\nREADY=1\n" {
		t.Errorf("readiness is %q, %v", line[:n], err)
	}

	// The socket outlives the daemon: a call made while it is away waits for the next one.
	d.Kill()

	answered := make(chan error, 1)
	go func() {
		_, err := timeapi.NewTimeServiceClient(d.Conn()).Time(within(t, 10*time.Second), &emptypb.Empty{})
		answered <- err
	}()

	_, notify, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}

	d.SetFiles([]*os.File{file, notify})
	d.Launch()

	if err := <-answered; err != nil {
		t.Errorf("the call that waited: %v", err)
	}
}

func TestUsage(t *testing.T) {
	d := kittest.Launched(t, pkg, kittest.Options{Args: []string{"--frobnicate"}})
	if err := d.Wait(within(t, 5*time.Second)); err == nil || err.Error() != "exit status 2" {
		t.Errorf("it ended with %v", err)
	}
}

// TestTellsItsDependencies asks as init does.
func TestTellsItsDependencies(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})

	answer, err := kitv1.NewInspectServiceClient(d.Conn()).Dependencies(within(t, 10*time.Second), &kitv1.DependenciesRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if !slices.ContainsFunc(answer.GetEdges(), func(e *inspect.ControllerDependencyEdge) bool {
		return e.GetControllerName() == "test.Filler" && e.GetResourceType() == testdaemon.ItemType && e.GetEdgeType() == inspect.DependencyEdgeType_OUTPUT_SHARED
	}) {
		t.Errorf("the graph is %v", answer.GetEdges())
	}
}

// TestTellsItsFigures asks as the gateway does.
func TestTellsItsFigures(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{Env: []string{"TEST_ITEMS=7"}})
	ctx := within(t, 10*time.Second)

	if _, err := timeapi.NewTimeServiceClient(d.Conn()).Time(ctx, &emptypb.Empty{}); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, 5*time.Second, "the figures", func() bool {
		answer, err := kitv1.NewMetricsServiceClient(d.Conn()).Metrics(ctx, &kitv1.MetricsRequest{})
		if err != nil {
			t.Fatal(err)
		}

		told := map[string]float64{}
		for _, family := range answer.GetFamilies() {
			for _, sample := range family.GetSamples() {
				told[family.GetName()+" "+strings.Join(sample.GetLabels(), " ")] = sample.GetValue()
			}
		}

		return told["dactyl_resources type "+testdaemon.ItemType] == 7 && told["process_open_fds "] > 0 &&
			told["dactyl_calls_total method /time.TimeService/Time code OK"] == 1
	})
}
