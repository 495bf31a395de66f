package gateway_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestNeedsNoRoot: as init starts it, user 50 without capabilities, the gateway needs the daemons' sockets and no more.
func TestNeedsNoRoot(t *testing.T) {
	kittest.RequireRoot(t)

	const user = 50

	authority := fake.NewAuthority(t)
	n := newNode(t, "127.0.0.2", "0")
	fake.PublishAPI(t, n.trustd, authority.Server(t, n.address), fake.Pair{}, authority)
	n.startOwners(t)

	n.credential = &syscall.Credential{Uid: user, Gid: user}
	open(t, n.runDir, filepath.Dir(binary(t)))
	n.startGateway(t)

	if err := version(within(t, 10*time.Second), n.client(t, authority, access.Admin)); err != nil {
		t.Fatal(err)
	}

	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n.gateway.cmd.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}

	for _, want := range []string{"Uid:\t50\t50\t50\t50", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
}

// open lets others through to files of this test, as init does for /run/dactyl.
func open(t *testing.T, dirs ...string) {
	t.Helper()

	for _, dir := range dirs {
		for up := dir; strings.HasPrefix(up, os.TempDir()+"/"); up = filepath.Dir(up) {
			if err := os.Chmod(up, 0o755); err != nil {
				t.Fatal(err)
			}
		}

		sockets, err := filepath.Glob(filepath.Join(dir, "*.sock"))
		if err != nil {
			t.Fatal(err)
		}

		for _, socket := range sockets {
			if err := os.Chmod(socket, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
}
