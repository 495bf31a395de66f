package cluster

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/services/kit/version"
)

// TestOSReleaseIsTheImages: a sandbox's /etc/os-release has the fields of an image's.
func TestOSReleaseIsTheImages(t *testing.T) {
	text, err := os.ReadFile("../../../rootfs/tree.yaml")
	if err != nil {
		t.Fatal(err)
	}

	var tree struct{ Files map[string]string }
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}

	fill := strings.NewReplacer("{tag}", version.Tag, "{plain-tag}", version.Plain(), "{sha}", version.SHA)

	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if want := fill.Replace(tree.Files[path]); want == "" || osRelease() != want {
			t.Errorf("the sandbox's os-release:\n%s\nan image's %s:\n%s", osRelease(), path, want)
		}
	}
}
