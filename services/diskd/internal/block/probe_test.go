package block

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A volume with nothing but a configuration is smaller than what probing reads.
func TestProbeSmallVolume(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "image")

	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("version: v1alpha1\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	if out, err := exec.Command("genisoimage", "-quiet", "-no-pad", "-V", "metal-iso", "-o", image, filepath.Join(dir, "config.yaml")).CombinedOutput(); err != nil {
		t.Fatalf("genisoimage: %v\n%s", err, out)
	}

	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	if info, err := f.Stat(); err != nil || info.Size() > probeLeast {
		t.Fatalf("the image has %d bytes, %v", info.Size(), err)
	}

	info, err := probe(f)
	if err != nil || info.Name != "iso9660" || info.Label == nil || *info.Label != "metal-iso" {
		t.Errorf("found %+v, %v", info, err)
	}
}
