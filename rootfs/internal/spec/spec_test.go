package spec_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/rootfs/internal/spec"
)

func load(t *testing.T) *spec.Spec {
	t.Helper()

	s, err := spec.Load("../..")
	if err != nil {
		t.Fatal(err)
	}

	return s
}

func TestEveryPackageIsPinnedForEveryArchitecture(t *testing.T) {
	s := load(t)

	for _, arch := range []string{"amd64", "arm64"} {
		if len(s.Kernel.SHA256[arch]) != 64 {
			t.Errorf("the kernel has no digest for %s", arch)
		}

		for _, p := range s.Packages.Packages {
			if p.Version == "" || len(p.SHA256[arch]) != 64 && len(p.SHA256["all"]) != 64 {
				t.Errorf("package %s has no version or digest for %s", p.Name, arch)
			}
		}
	}
}

func TestEveryUpstreamProgramIsPinnedInGoMod(t *testing.T) {
	cmd := exec.Command("go", "tool")
	cmd.Dir = "../.."
	cmd.Env = append(cmd.Environ(), "GOWORK=off")

	tools, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}

	for _, p := range load(t).Programs.Programs {
		if !strings.Contains(string(tools), p.Package+"\n") {
			t.Errorf("%s is not a tool of rootfs/go.mod", p.Package)
		}
	}
}
