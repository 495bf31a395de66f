package vm

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// TestLongMetalISO: a machine that boots with a volume of that label is configured by nobody else, and lets the volume go.
func TestLongMetalISO(t *testing.T) {
	c := start(t, "--config-injection-method", "metal-iso")
	c.nodes[0].acquired(t, "config.yaml on volume metal-iso")
}

// TestLongSeeds: seeds for NoCloud as genisoimage and mkfs.vfat make them, plugged in while the machines wait for one.
func TestLongSeeds(t *testing.T) {
	c := start(t, "--workers", "1", "--skip-injecting-config", "--extra-disks", "1", "--extra-disks-size", "8",
		"--extra-boot-kernel-args", "talos.platform=nocloud")

	for i, n := range c.nodes {
		n.awaitMaintenance(t)

		dir := t.TempDir()
		image := filepath.Join(t.TempDir(), "seed")
		write(t, filepath.Join(dir, "user-data"), readFile(t, n.ConfigPath()))
		write(t, filepath.Join(dir, "meta-data"), fmt.Appendf(nil, "instance-id: i-%d\nlocal-hostname: seeded-%d\n", i, i))

		for _, command := range [][][]string{
			{{"genisoimage", "-quiet", "-V", "CIDATA", "-J", "-R", "-o", image, dir}},
			{{"truncate", "-s", "4M", image}, {"mkfs.vfat", "-n", "cidata", image}, {"mcopy", "-i", image, dir + "/user-data", dir + "/meta-data", "::"}},
		}[i] {
			outside.Must(t, outside.Run(t.Context(), command[0], command[1:]...))
		}

		// The image keeps its size: the machine has it open.
		plug(t, n.DiskPath(1), readFile(t, image))
	}

	for i, n := range c.nodes {
		n.acquired(t, "user-data on volume cidata")

		want := fmt.Sprintf("nocloud seeded-%d i-%d\n", i, i)
		if got := n.ctl(t, "get", "platformmetadata", "-o", "jsonpath={.spec.platform} {.spec.hostname} {.spec.instanceId}"); got != want {
			t.Errorf("platform of %s: %q, want %q", n.Name, got, want)
		}
	}
}

// TestLongConfigURL: the server is asked with what the machine knows of itself, until it has a configuration.
func TestLongConfigURL(t *testing.T) {
	var (
		mu    sync.Mutex
		asked []url.Values
		data  []byte
	)

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()

		if asked = append(asked, r.URL.Query()); data == nil {
			http.Error(w, "not yet", http.StatusServiceUnavailable)

			return
		}

		_, _ = w.Write(data)
	}))

	// The bridge, and with it the address that machines ask, is made by the cluster.
	listener, err := net.Listen("tcp4", ":0")
	if err != nil {
		t.Fatal(err)
	}

	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)

	port := listener.Addr().(*net.TCPAddr).Port
	c := start(t, "--skip-injecting-config", "--extra-boot-kernel-args",
		fmt.Sprintf("talos.config=http://%s:%d/config?u=${uuid}&m=${mac}&s=${serial}&h=${hostname}", gatewayMark, port))
	n := c.nodes[0]

	// At first the machine may not know yet what the DHCP server calls it.
	want := url.Values{"u": {n.UUID}, "m": {n.MAC}, "s": {n.Name}, "h": {n.Name}}.Encode()

	kittest.AwaitNoError(t, bootLimit, func() error {
		mu.Lock()
		defer mu.Unlock()

		if !slices.ContainsFunc(asked, func(query url.Values) bool { return query.Encode() == want }) {
			return fmt.Errorf("nobody asked for %s: %s", want, asked)
		}

		return nil
	})
	n.awaitMaintenance(t)

	mu.Lock()
	data = readFile(t, n.ConfigPath())
	mu.Unlock()

	n.acquired(t, "http://")
}

// TestLongInline: a configuration on the kernel command line, and META beside it, install a machine that nobody talks to.
func TestLongInline(t *testing.T) {
	want := smallWorker(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config"), want)
	outside.Must(t, outside.Run(t.Context(), "zstd", "-q", "-19", filepath.Join(dir, "config")))

	c := start(t, "--skip-injecting-config", "--wait=false", "--extra-boot-kernel-args", installerMeta("0xd=given")+
		" talos.config.inline="+base64.StdEncoding.EncodeToString(readFile(t, filepath.Join(dir, "config.zst"))))
	n := c.nodes[0]
	n.awaitConsole(t, 0, "stage: running")

	if err := n.PowerOff(); err != nil {
		t.Fatal(err)
	}

	sector, _, err := partition(outside.Must(t, outside.Run(t.Context(), "sgdisk", "--print", n.DiskPath(0))), "STATE")
	if err != nil {
		t.Fatal(err)
	}

	got := outside.Must(t, outside.Run(t.Context(), "debugfs", "-R", "cat /config.yaml", fmt.Sprintf("%s?offset=%d", n.DiskPath(0), sector*512)))
	if got != string(want) {
		t.Errorf("config.yaml on the disk: %q, want %q", got, want)
	}

	for i, copied := range metaCopies(t, n) {
		if got := showMeta(copied); got != "0x0d=given" {
			t.Errorf("copy %d of META on the disk: %q", i, got)
		}
	}
}

// smallWorker is a worker's configuration that fits the kernel command line's 2 KiB.
func smallWorker(t *testing.T) []byte {
	t.Helper()

	out, err := generate.Config(generate.Input{ClusterName: "c", Endpoint: "https://10.120.0.1:6443"})
	if err != nil {
		t.Fatal(err)
	}

	full, err := config.Load(out.Worker)
	if err != nil {
		t.Fatal(err)
	}

	return fmt.Appendf(nil, "version: v1alpha1\nmachine: {type: worker, token: %s, ca: {crt: %s}, install: {disk: /dev/vda}}\n"+
		"cluster: {controlPlane: {endpoint: \"https://10.120.0.1:6443\"}}\n",
		full.Machine().Token, base64.StdEncoding.EncodeToString([]byte(full.Machine().CA.Crt)))
}

// acquired waits until the node runs with a configuration that it found itself, and looks whether it still holds its volume.
func (n *node) acquired(t *testing.T, source string) {
	t.Helper()
	kittest.AwaitNoError(t, bootLimit, func() error {
		r := n.try(t, "logs", "configd")
		for line := range strings.Lines(r.Stdout) {
			if strings.Contains(line, "configuration acquired") && strings.Contains(line, source) {
				return nil
			}
		}

		return fmt.Errorf("%s has no configuration from %s: %s", n.Name, source, r)
	})

	if mounts := n.ctl(t, "read", "/proc/mounts"); strings.Contains(mounts, "/run/dactyl/volumes") {
		t.Errorf("%s still holds a volume:\n%s", n.Name, mounts)
	}

	if got, want := n.ctl(t, "read", "/system/state/config.yaml"), readFile(t, n.ConfigPath()); got != string(want) {
		t.Errorf("%s keeps another configuration than it was given", n.Name)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()

	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	return data
}

// plug writes the beginning of a disk.
func plug(t *testing.T, disk string, data []byte) {
	t.Helper()

	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
}
