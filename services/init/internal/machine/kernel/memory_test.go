package kernel

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSaveMemory(t *testing.T) {
	for name, c := range map[string]struct{ before, after string }{
		"everyone":       {"[always] madvise never\n", "madvise\n"},
		"who asks":       {"always [madvise] never\n", "always [madvise] never\n"},
		"a user's never": {"always madvise [never]\n", "always madvise [never]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()

			for path, text := range map[string]string{hugePages: c.before, reserve: "5674\n"} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
					t.Fatal(err)
				}

				if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}

			if err := SaveMemory(root); err != nil {
				t.Fatal(err)
			}

			if got, err := os.ReadFile(filepath.Join(root, hugePages)); err != nil || string(got) != c.after {
				t.Errorf("%q, %v; want %q", got, err, c.after)
			}

			if got, err := os.ReadFile(filepath.Join(root, reserve)); err != nil || string(got) != "5674\n" {
				t.Errorf("reserve is %q, %v", got, err)
			}
		})
	}

	if err := SaveMemory(t.TempDir()); err != nil {
		t.Errorf("a kernel without huge pages: %v", err)
	}
}
