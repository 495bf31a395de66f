package configd_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// machineRoot has a kernel command line and what SMBIOS says.
func machineRoot(t *testing.T, cmdline string) string {
	t.Helper()

	root := t.TempDir()

	for name, text := range map[string]string{
		"proc/cmdline": cmdline, "sys/class/dmi/id/product_uuid": "4C4C4544-0001\n", "sys/class/dmi/id/product_serial": "SN-7\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}

		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	return root
}

func (n node) persisted() string {
	data, _ := os.ReadFile(filepath.Join(n.StateDir, "config.yaml"))

	return string(data)
}

// TestAcquireByURL: the machine is in maintenance, with its API, until the server has its configuration; that is kept.
func TestAcquireByURL(t *testing.T) {
	var (
		ready atomic.Bool
		asked atomic.Value
	)

	want := string(hostConfig(t, "by-url", ""))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String())

		if !ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)

			return
		}

		_, _ = w.Write([]byte(want))
	}))
	defer server.Close()

	meta := base64.StdEncoding.EncodeToString([]byte("0xa=network"))
	n := start(t, kittest.Options{Root: machineRoot(t, "talos.platform=metal talos.config="+server.URL+"/m/${uuid}?s=${serial} talos.environment=INSTALLER_META_BASE64="+meta+"\n")})

	kittest.Await(t, 10*time.Second, "the server is asked", func() bool { return asked.Load() != nil })

	if n.persisted() != "" {
		t.Error("there is a configuration before the server has one")
	}

	if data, err := os.ReadFile(filepath.Join(n.StateDir, "meta")); err != nil || !strings.Contains(string(data), "network") {
		t.Errorf("META of the command line is not kept: %v", err)
	}

	ready.Store(true)
	kittest.Await(t, 10*time.Second, "the configuration is kept", func() bool { return n.persisted() == want })

	if got := asked.Load(); got != "/m/4c4c4544-0001?s=SN-7" {
		t.Errorf("the server was asked for %s", got)
	}

	// With a configuration kept, nobody is asked again.
	asked.Store("")
	n.Restart()
	n.methods()
	kittest.Await(t, 10*time.Second, "it serves again", func() bool {
		_, err := n.methods().ApplyConfiguration(t.Context(), &machine.ApplyConfigurationRequest{Data: []byte(want), DryRun: true})

		return err == nil
	})

	if got := asked.Load(); got != "" {
		t.Errorf("a machine with a configuration asked for %s", got)
	}
}

// TestAppliedWhileAcquiring: what an admin applies wins over a volume that never comes.
func TestAppliedWhileAcquiring(t *testing.T) {
	n := start(t, kittest.Options{Root: machineRoot(t, "talos.platform=nocloud\n")})
	want := hostConfig(t, "by-hand", "")

	if _, err := n.methods().ApplyConfiguration(t.Context(), &machine.ApplyConfigurationRequest{Data: want}); err != nil {
		t.Fatal(err)
	}

	if n.persisted() != string(want) {
		t.Error("it is not kept")
	}
}
