package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/dactyl-os/dactyl/rootfs/internal/spec"
)

// small are an image with the pause of the table and one with a Go program of this module: quick to build, without the network.
func small(t *testing.T, out, cache string, log *bytes.Buffer) *builder {
	t.Helper()

	b, err := newBuilder(options{repository: "../..", out: out, cache: cache, arch: runtime.GOARCH}, log)
	if err != nil {
		t.Fatal(err)
	}

	var list []spec.Container

	for _, c := range b.spec.Images.Images {
		if c.Name == "registry.k8s.io/pause" {
			list = append(list, c)
		}
	}

	b.spec.Images.Images = append(list, spec.Container{
		Name: "example.org/tool", Tag: "1", Entrypoint: []string{"/tool"}, Programs: []spec.Program{{Package: "./install-cni", Path: "/tool"}},
	})

	return b
}

func index(t *testing.T, out string) string {
	t.Helper()

	data, err := os.ReadFile(filepath.Join(out, "images", "index.json"))
	if err != nil {
		t.Fatal(err)
	}

	return string(data)
}

// TestImagesAreReproducible builds images twice with nothing in common, and once more with everything there.
func TestImagesAreReproducible(t *testing.T) {
	var first string

	for range 2 {
		var log bytes.Buffer

		out := t.TempDir()
		b := small(t, out, t.TempDir(), &log)

		if err := containers(t.Context(), []*builder{b}, nil); err != nil {
			t.Fatal(err)
		}

		if n := strings.Count(log.String(), "compiling"); n != 2 {
			t.Errorf("%d programs were compiled:\n%s", n, log.String())
		}

		if first == "" {
			first = index(t, out)
		}

		if got := index(t, out); got != first {
			t.Errorf("the second build differs:\n%s\n%s", first, got)
		}

		log.Reset()

		if err := containers(t.Context(), []*builder{b}, nil); err != nil || log.Len() > 0 || index(t, out) != first {
			t.Errorf("a build with nothing to do: %v\n%s", err, log.String())
		}
	}
}

// TestImagesAreWhole: the library's validator compares manifests, and zstd and sha256sum the layers, which it cannot read.
func TestImagesAreWhole(t *testing.T) {
	out := t.TempDir()
	b := small(t, out, t.TempDir(), &bytes.Buffer{})

	if err := containers(t.Context(), []*builder{b}, nil); err != nil {
		t.Fatal(err)
	}

	path, err := layout.FromPath(filepath.Join(out, "images"))
	if err != nil {
		t.Fatal(err)
	}

	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}

	if err = validate.Index(index, validate.Fast); err != nil {
		t.Error(err)
	}

	checkLayers(t, filepath.Join(out, "images"))

	b.spec.Images.Images[1].Env = []string{"A=1"}

	before, err := filepath.Glob(filepath.Join(out, "images", "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}

	if err = containers(t.Context(), []*builder{b}, nil); err != nil {
		t.Fatal(err)
	}

	after, err := filepath.Glob(filepath.Join(out, "images", "blobs", "sha256", "*"))
	if err != nil || len(after) != len(before) {
		t.Errorf("%d blobs became %d after an image was made anew (%v)", len(before), len(after), err)
	}

	if err := containers(t.Context(), []*builder{b}, []string{"example.org/none"}); err == nil {
		t.Error("an image that is not in the table was built")
	}
}

// checkLayers compares what zstd unpacks with the digests in the configurations.
func checkLayers(t *testing.T, dir string) {
	t.Helper()

	const script = `cd "$1/blobs/sha256"; n=0
for config in $(grep -l '"diff_ids"' *); do
	for layer in $(grep -o '"sha256:[0-9a-f]*"' "$config" | tr -d '"'); do
		found=; for blob in *; do [ "sha256:$(zstd -dcq "$blob" 2>/dev/null | sha256sum | cut -d' ' -f1)" = "$layer" ] && found=$blob; done
		[ -n "$found" ] || { echo "no blob unpacks to $layer"; exit 1; }
		zstd -dcq "$found" | tar -t >/dev/null || exit 1
		n=$((n + 1))
	done
done
echo $n`

	out, err := exec.Command("bash", "-c", script, "bash", dir).CombinedOutput()
	if err != nil || string(out) != "2\n" {
		t.Errorf("layers: %v: %s", err, out)
	}
}

// TestPauseEndsWhenAsked: nothing of the pod's namespaces may outlive it.
func TestPauseEndsWhenAsked(t *testing.T) {
	b := small(t, t.TempDir(), t.TempDir(), &bytes.Buffer{})

	file, err := b.program(t.Context(), b.spec.Images.Images[0].Programs[0], &progress{log: b.log})
	if err != nil {
		t.Fatal(err)
	}

	version, err := exec.Command(file, "-v").Output()
	if err != nil || string(version) != "pause "+b.spec.Images.Images[0].Tag+"\n" {
		t.Errorf("pause -v says %q (%v)", version, err)
	}

	// timeout sends SIGTERM; the handler's exit code is 0.
	cmd := exec.Command("timeout", "--preserve-status", "1", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("pause ended with %v: %s", err, out)
	}
}

// TestEstimate: the table's seconds hold until enough was compiled to know how fast this machine is.
func TestEstimate(t *testing.T) {
	for _, c := range []struct {
		spent int
		took  time.Duration
		want  time.Duration
	}{
		{0, 0, 15 * time.Minute}, {2, time.Minute, 15 * time.Minute}, {480, 19 * time.Minute, 2137 * time.Second}, {60, 6 * time.Second, 90 * time.Second},
	} {
		w := progress{left: 900, spent: c.spent, took: c.took}
		if got := w.estimate(); got != c.want {
			t.Errorf("after %d of the table's seconds, which took %s: %s to go, want %s", c.spent, c.took, got, c.want)
		}
	}
}
