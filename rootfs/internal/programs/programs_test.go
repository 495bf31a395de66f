package programs_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/rootfs/internal/programs"
)

// A program from the cache must be the one that a build would give now.
func TestKeyTellsBuildsApart(t *testing.T) {
	p := programs.Program{Package: "./stage1", Dir: "../.."}
	keys := map[string]string{}

	add := func(name string, p programs.Program, arch string) {
		key, err := p.Key(t.Context(), arch)
		if err != nil {
			t.Fatal(err)
		}

		if other, ok := keys[key]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}

		keys[key] = name
	}

	add("the program", p, "amd64")
	add("another architecture", p, "arm64")

	tags := p
	tags.Tags = []string{"debug"}
	add("a tag", tags, "amd64")

	flags := p
	flags.LDFlags = "-X main.version=2"
	add("a linker flag", flags, "amd64")

	t.Setenv("GOAMD64", "v3")
	add("another level of the processor", p, "amd64")
}

// The version of a program is that of its module, whatever module the path of another one begins with.
func TestVersionIsTheModulesOwn(t *testing.T) {
	for pkg, module := range map[string]string{
		"github.com/containerd/containerd/v2/cmd/containerd":         "github.com/containerd/containerd/v2",
		"github.com/containernetworking/plugins/plugins/main/bridge": "github.com/containernetworking/plugins",
	} {
		cmd := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module)
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), "GOWORK=off")

		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}

		if got, err := programs.Version("../..", pkg); err != nil || got != strings.TrimSpace(string(want)) {
			t.Errorf("%s has the version %q (%v), want %s", pkg, got, err, want)
		}
	}

	if _, err := programs.Version("../..", "example.org/none"); err == nil {
		t.Error("a package of no module has a version")
	}
}
