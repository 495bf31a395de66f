package initd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/init/internal/process"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// secrets are files as an image of before has left them, root's, and who they are for now.
func secrets() map[string]string {
	return map[string]string{
		"system/state/config.yaml": "configd", "system/state/config.good": "configd", "system/state/meta": "configd",
		"system/state/node-identity.yaml": "discoveryd", "system/secrets/etcd/ca.key": "etcdd", "var/lib/etcd/member/snap/db": "etcdd",
		"run/configd/meta": "configd", "run/trustd/resources": "trustd", "run/discoveryd/records": "discoveryd", "run/etcdd/run.json": "etcdd",
		"run/networkd/leases.json": "networkd", "run/diskd/resetting": "diskd", "run/gateway/x": "gateway", "run/hostd/x": "hostd", "run/timed/x": "timed",
		"system/state/boot.json": "init", "var/log/dactyl/kernel.log": "init", "root/secret": "init",
	}
}

// atHome is where a secret is once its owner has adopted it.
func atHome(path string) string {
	return strings.Replace(path, "state/node-identity", "state/discoveryd/node-identity", 1)
}

// TestDaemonsOpenOnlyTheirOwnFiles: inside each daemon's own context, made by init from the manifest of the image, every secret
// of the node and of the other daemons is tried. What opens is in testdata/files.txt, and the manifests say why.
func TestDaemonsOpenOnlyTheirOwnFiles(t *testing.T) {
	m := newMachine(t)

	if _, err := process.OpenLandlock(); err != nil {
		t.Skip(err)
	}

	var paths []string

	for path := range secrets() {
		for _, dir := range parents(path) {
			if err := os.MkdirAll(filepath.Join(m.root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}

		if err := os.WriteFile(filepath.Join(m.root, path), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}

		paths = append(paths, path)
	}

	slices.Sort(paths)

	// Static, as the image's programs are: what it runs is all that it runs.
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", filepath.Join(m.root, "daemon"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")

	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	names := m.probes(strings.Join(paths, ":"))
	m.boot()

	var report strings.Builder

	for _, name := range names {
		kittest.Await(t, 20*time.Second, name+" runs", func() bool { return len(m.opened(name)) > 0 })
	}

	for _, name := range names {
		// Now that all that is owned is given away.
		before := len(m.opened(name))
		if _, err := m.ServiceRestart(t.Context(), &machine.ServiceRestartRequest{Id: name}); err != nil {
			t.Fatal(err)
		}

		kittest.Await(t, 20*time.Second, name+" runs again", func() bool { return len(m.opened(name)) > before })

		all := m.opened(name)
		fmt.Fprintf(&report, "%s\n%s", name, all[len(all)-1])
	}

	kittest.Golden(t, "files.txt", []byte(report.String()))
}

// probes writes the image's manifests with this test in place of the programs.
func (m *machineUnderTest) probes(paths string) []string {
	m.t.Helper()

	files, err := filepath.Glob("../../deploy/services/*.yaml")
	if err != nil || len(files) == 0 {
		m.t.Fatalf("no manifests: %v", err)
	}

	var names []string

	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			m.t.Fatal(err)
		}

		var doc map[string]any
		if err := yaml.Unmarshal(text, &doc); err != nil {
			m.t.Fatal(err)
		}

		name, _ := doc["name"].(string)
		names = append(names, name)

		// On a machine a daemon may do the most.
		if onMachine, ok := doc["machine"].(map[string]any); ok {
			capabilities, _ := doc["capabilities"].(map[string]any)
			if capabilities == nil {
				capabilities = map[string]any{}
			}

			more, _ := onMachine["capabilities"].(map[string]any)
			for capability, why := range more {
				capabilities[capability] = why
			}

			if len(capabilities) > 0 {
				doc["capabilities"] = capabilities
			}
		}

		for _, key := range []string{"needs", "conditions", "listen", "machine", "memory", "aliases"} {
			delete(doc, key)
		}

		doc["command"] = []string{m.root + "/daemon", "--run-dir", m.root + "/run", "--root", m.root, "--state-dir", m.root + "/state"}
		doc["env"] = map[string]string{"DACTYL_FAKE": "probe", "DACTYL_NAME": name, "DACTYL_SECRETS": paths, "DACTYL_ROOT": m.root}

		out, err := yaml.Marshal(doc)
		if err := errors.Join(err, os.WriteFile(filepath.Join(m.root, "usr/share/dactyl/services", name+".yaml"), out, 0o600)); err != nil {
			m.t.Fatal(err)
		}
	}

	return names
}

// opened are the reports of a daemon's runs so far.
func (m *machineUnderTest) opened(name string) []string {
	data, _ := os.ReadFile(filepath.Join(m.root, "var/log/dactyl", name+".log"))

	var reports []string

	for _, part := range strings.Split(string(data), "probe begins\n")[1:] {
		if report, _, whole := strings.Cut(part, "probe ends\n"); whole {
			reports = append(reports, report)
		}
	}

	return reports
}

// probe tells what it can open of others, and what not of its own, and serves.
func probe() int {
	name, root := os.Getenv("DACTYL_NAME"), os.Getenv("DACTYL_ROOT")
	report := "probe begins\n"

	for _, path := range strings.Split(os.Getenv("DACTYL_SECRETS"), ":") {
		for what, flags := range map[string]int{"reads": os.O_RDONLY, "writes": os.O_WRONLY} {
			file, err := os.OpenFile(filepath.Join(root, atHome(path)), flags, 0)
			if err == nil {
				_ = file.Close()
			}

			if own := secrets()[path] == name; own != (err == nil) {
				report += fmt.Sprintf("  %s %s: %t\n", what, atHome(path), err == nil)
			}
		}
	}

	lines := strings.SplitAfter(report, "\n")
	slices.Sort(lines[1:])
	fmt.Print(strings.Join(lines, "") + "probe ends\n")

	return daemon.Main(name, serve)
}

func parents(path string) []string {
	var dirs []string
	for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
	}

	slices.Reverse(dirs)

	return dirs
}
