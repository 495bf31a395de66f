package hostd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	types "github.com/dactyl-os/dactyl/proto/resource"
	resfiles "github.com/dactyl-os/dactyl/proto/resource/files"
	"github.com/dactyl-os/dactyl/proto/resource/perf"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

const machineConfig = `version: v1alpha1
machine:
  type: worker
  sysctls:
    net.ipv4.ip_forward: "1"
    vm.max_map_count: "262144"
    net.none: "1"
`

// servingAgain is how long a killed daemon may be away.
const servingAgain = 300 * time.Millisecond

type host struct {
	*kittest.Daemon

	api   machine.MachineServiceClient
	state state.State
}

// start runs the daemon over a made-up root with the machine's own figures in it.
func start(t *testing.T) *host {
	t.Helper()

	if err := types.Register(); err != nil {
		t.Fatal(err)
	}

	root := t.TempDir()

	for name, text := range map[string]string{
		"proc/sys/net/ipv4/ip_forward": "0\n", "proc/sys/vm/max_map_count": "65530\n", "proc/cmdline": "talos.platform=container\n",
		"etc/hosts": "127.0.0.1 localhost\n", "proc/self/mounts": "tmpfs /etc tmpfs rw 0 0\n", "dev/x": "",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}

	for _, name := range []string{"meminfo", "stat", "loadavg", "cpuinfo", "diskstats"} {
		data, err := os.ReadFile("/proc/" + name)
		if err != nil {
			t.Fatal(err)
		}

		if err = os.WriteFile(filepath.Join(root, "proc", name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	d := kittest.Start(t, "github.com/dactyl-os/dactyl/services/hostd/cmd/hostd", kittest.Options{Root: root, Config: machineConfig})

	return &host{d, machine.NewMachineServiceClient(d.Conn()), state.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(d.Conn())))}
}

func TestDaemon(t *testing.T) {
	h := start(t)

	parameters(t, h)

	// Also where the kernel is somebody else's: clients wait for it.
	security, err := safe.ReaderGetByID[*runtime.SecurityState](t.Context(), h.state, runtime.SecurityStateID)
	if err != nil || security.TypedSpec().SecureBoot {
		t.Errorf("security state %v, %v", security, err)
	}

	memory, err := safe.ReaderGetByID[*perf.Memory](t.Context(), h.state, perf.MemoryID)
	if err != nil {
		t.Fatal(err)
	}

	answer, err := h.api.Memory(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}

	info := answer.GetMessages()[0].GetMeminfo()
	if m := memory.TypedSpec(); m.MemTotal != info.GetMemtotal() || m.MemUsed != m.MemTotal-info.GetMemfree() || m.DirectMap1g != info.GetDirectmap1G() {
		t.Errorf("the resource says %+v, the method %v", m, info)
	}

	if cpu, err := safe.ReaderGetByID[*perf.CPU](t.Context(), h.state, perf.CPUID); err != nil || cpu.TypedSpec().CPUTotal.User == 0 {
		t.Errorf("processor figures: %v %v", cpu, err)
	}

	text, err := read(h.api.Read(t.Context(), &machine.ReadRequest{Path: "/etc/hosts"}))
	if err != nil || text != "127.0.0.1 localhost\n" {
		t.Errorf("read: %q %v", text, err)
	}

	if zipped, err := read(h.api.Copy(t.Context(), &machine.CopyRequest{RootPath: "/etc"})); err != nil || !strings.HasPrefix(zipped, "\x1f\x8b") {
		t.Errorf("copy: %d bytes, %v", len(zipped), err)
	}

	etcFiles(t, h)
	h.Kill()

	begin := time.Now()

	h.Launch()
	h.AwaitServing()

	if away := time.Since(begin); away > servingAgain {
		t.Errorf("serving %s after the start, want at most %s", away, servingAgain)
	}
}

func etcFiles(t *testing.T, h *host) {
	t.Helper()

	for id, text := range map[string]string{"machine/issue": "hello\n", "../outside": "no\n", "hosts": "10.0.0.1 a\x00b\n"} {
		spec := resfiles.NewEtcFileSpec(resfiles.NamespaceName, id)
		spec.TypedSpec().Contents, spec.TypedSpec().Mode = []byte(text), 0o640

		if err := h.state.Create(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}

	kittest.AwaitNoError(t, 5*time.Second, func() error {
		_, err := safe.ReaderGetByID[*resfiles.EtcFileStatus](t.Context(), h.state, "machine/issue")

		return err
	})

	path := filepath.Join(h.Root, "etc", "machine", "issue")
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 || info.Size() != 6 {
		t.Errorf("file: %v %v", info, err)
	}

	if _, err := os.Stat(filepath.Join(h.Root, "outside")); err == nil {
		t.Error("a file outside of /etc was written")
	}

	if data, err := os.ReadFile(filepath.Join(h.Root, "etc", "hosts")); err == nil && strings.Contains(string(data), "\x00") {
		t.Error("what is no text was written")
	}
}

// Only what is the node's own is written.
func parameters(t *testing.T, h *host) {
	t.Helper()

	for id, want := range map[string]runtime.KernelParamStatusSpec{
		"proc.sys.net.ipv4.ip_forward": {Current: "1", Default: "0"},
		"proc.sys.vm.max_map_count":    {Current: "65530", Default: "65530", Unsupported: true},
		"proc.sys.net.none":            {Unsupported: true},
	} {
		kittest.AwaitNoError(t, 5*time.Second, func() error {
			res, err := safe.ReaderGetByID[*runtime.KernelParamStatus](t.Context(), h.state, id)
			if err != nil {
				return err
			}

			if got := *res.TypedSpec(); strings.TrimSpace(got.Current) != want.Current || got.Default != want.Default || got.Unsupported != want.Unsupported {
				return fmt.Errorf("%s: %+v", id, got)
			}

			return nil
		})
	}
}

func read(stream grpc.ServerStreamingClient[common.Data], err error) (string, error) {
	if err != nil {
		return "", err
	}

	var out strings.Builder

	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out.String(), nil
		}

		if err != nil {
			return out.String(), err
		}

		out.Write(message.GetBytes())
	}
}

// Every refusal says what was wrong, with the node's path and not the machine's.
func TestErrors(t *testing.T) {
	h := start(t)

	var out bytes.Buffer

	say := func(what string, err error) {
		text := strings.ReplaceAll(status.Convert(err).Message(), h.Root, "ROOT")
		fmt.Fprintf(&out, "%s\n    %s: %s\n", what, status.Code(err), text)
	}

	readOf := func(path string) error {
		_, err := read(h.api.Read(t.Context(), &machine.ReadRequest{Path: path}))

		return err
	}
	say("read /none", readOf("/none"))
	say("read /etc", readOf("/etc"))
	say("read nothing", readOf(""))
	say("read /etc/hosts/x", readOf("/etc/hosts/x"))

	_, err := read(h.api.Copy(t.Context(), &machine.CopyRequest{RootPath: "/none"}))
	say("copy /none", err)

	list, err := h.api.List(t.Context(), &machine.ListRequest{Root: "/none"})
	if err == nil {
		_, err = list.Recv()
	}

	say("list /none", err)

	usage, err := h.api.DiskUsage(t.Context(), &machine.DiskUsageRequest{Paths: []string{"/none"}})
	if err == nil {
		_, err = usage.Recv()
	}

	say("usage /none", err)

	_, err = read(h.api.Dmesg(t.Context(), &machine.DmesgRequest{}))
	say("dmesg without a log", err)

	_, err = read(h.api.Read(t.Context(), &machine.ReadRequest{Path: "/etc/\x00"}))
	say("read a NUL", err)

	_, err = read(h.api.Read(t.Context(), &machine.ReadRequest{Path: "/" + strings.Repeat("x", 300)}))
	say("read a long name", status.Error(status.Code(err), "its name is too long"))

	kittest.Golden(t, "errors.txt", out.Bytes())
}

// A long list arrives whole.
func TestLongList(t *testing.T) {
	h := start(t)

	dir := filepath.Join(h.Root, "many")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	for i := range 20_000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-with-a-rather-long-name-%06d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	stream, err := h.api.List(ctx, &machine.ListRequest{Root: "/many"})
	if err != nil {
		t.Fatal(err)
	}

	for count := 0; ; count++ {
		_, err = stream.Recv()
		if errors.Is(err, io.EOF) {
			if count != 20_001 {
				t.Errorf("%d entries", count)
			}

			return
		}

		if err != nil {
			t.Fatal(err)
		}
	}
}
