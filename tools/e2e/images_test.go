package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/dactyl-os/dactyl/tools/internal/images"
)

// TestImages takes an image through the commands that need no node. Registries and containerd are for tools/dactylctl.
func TestImages(t *testing.T) {
	const name = "registry.k8s.io/pause:3.10.2"

	if list := ctl(t, "image", "default"); !strings.Contains(list, name+"\n") {
		t.Errorf("image default does not name %s:\n%s", name, list)
	}

	dir := filepath.Join(t.TempDir(), "images")

	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}

	image, err := random.Image(2000, 1)
	if err != nil {
		t.Fatal(err)
	}

	if err = path.AppendImage(image, layout.WithAnnotations(map[string]string{images.NameAnnotation: name})); err != nil {
		t.Fatal(err)
	}

	other := filepath.Join(t.TempDir(), "other")
	ctl(t, "image", "copy", "oci:"+dir, "oci:"+other, name)

	if was, is := ctl(t, "image", "list", "--layout", dir), ctl(t, "image", "list", "--layout", other); was != is || !strings.Contains(is, name) {
		t.Errorf("the copy of\n%sis\n%s", was, is)
	}

	if line := firstLine(t, "image", "serve", "--layout", other, "--address", "127.0.0.1:0"); !strings.Contains(line, "http://127.0.0.1:") {
		t.Errorf("image serve begins with %q", line)
	}
}
