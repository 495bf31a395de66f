package version_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/version"
)

// TestTagNeverSortsBeforeTheContract: a pre-release of v1.8.4 would, and clients of v1.8.4 would warn at each command.
func TestTagNeverSortsBeforeTheContract(t *testing.T) {
	makefile, err := os.ReadFile("../../../Makefile")
	if err != nil {
		t.Fatal(err)
	}

	built := regexp.MustCompile(`(?m)^TAG\s+\?= (\S+)$`).FindSubmatch(makefile)
	if built == nil {
		t.Fatal("the Makefile sets no TAG")
	}

	for _, tag := range []string{version.Tag, string(built[1])} {
		if !regexp.MustCompile(`^v1\.8\.([4-9]|[1-9]\d+)(\+[0-9A-Za-z.-]+)?$`).MatchString(tag) {
			t.Errorf("%s sorts before v1.8.4, or is no version", tag)
		}
	}

	if plain := version.Plain(); !regexp.MustCompile(`^[a-z0-9._-]+$`).MatchString(plain) {
		t.Errorf("VERSION_ID=%s is none that os-release(5) allows", plain)
	}
}
