package debian_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/rootfs/internal/debian"
)

func TestPackageWithAnotherDigestIsRefused(t *testing.T) {
	cache := debian.Cache{Dir: t.TempDir(), Log: t.Logf}
	file := filepath.Join(cache.Dir, "debs", "nft_1%3a2_amd64.deb")

	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(file, []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}

	pinned := strings.Repeat("0", 64)

	_, err := cache.Unpack(t.Context(), debian.Package{Name: "nft", Version: "1:2", Arch: "amd64", SHA256: pinned})
	if err == nil || !strings.Contains(err.Error(), "pinned is "+pinned) {
		t.Errorf("error is %v, want the pinned digest named", err)
	}
}
