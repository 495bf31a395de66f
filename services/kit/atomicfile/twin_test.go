package atomicfile_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

var errNotOurs = errors.New("not ours")

// ours knows a file without a copy by how it begins.
func ours(data []byte) error {
	if !bytes.HasPrefix(data, []byte("ours ")) {
		return errNotOurs
	}

	return nil
}

// damages are what happens to files.
var damages = map[string]func(t *testing.T, path string){
	"whole":     func(*testing.T, string) {},
	"missing":   func(t *testing.T, path string) { check(t, os.Remove(path)) },
	"emptied":   func(t *testing.T, path string) { check(t, os.Truncate(path, 0)) },
	"truncated": func(t *testing.T, path string) { check(t, os.Truncate(path, 3)) },
	"flipped":   func(t *testing.T, path string) { change(t, path, func(b []byte) { b[0] ^= 1 }) },
	"directory": func(t *testing.T, path string) {
		check(t, os.Remove(path))
		check(t, os.MkdirAll(filepath.Join(path, "full"), 0o700))
	},
}

// TestTwinDamages damages the file and its copy in every combination: what was written comes back unless both are damaged,
// and then that is said; nothing at all is only what has neither.
func TestTwinDamages(t *testing.T) {
	want := []byte("ours and dear")

	for first, hurt := range damages {
		for second, hurtToo := range damages {
			dir := t.TempDir()
			twin := atomicfile.Twin{Path: filepath.Join(dir, "file"), Copy: filepath.Join(dir, "file.copy"), Mode: 0o600}

			check(t, twin.Write(want))
			hurt(t, twin.Path)
			hurtToo(t, twin.Copy)

			data, mended, err := twin.Read(ours)

			switch {
			case first == "missing" && second == "missing":
				if data != nil || mended != nil || err != nil {
					t.Errorf("nothing there: %q, %v, %v", data, mended, err)
				}
			case first == "whole" || second == "whole":
				if !bytes.Equal(data, want) || err != nil || (mended == nil) != (first == "whole" && (second == "whole" || second == "missing")) {
					t.Errorf("file %s, copy %s: %q, mended: %v, %v", first, second, data, mended, err)
				}

				if again, mended, err := twin.Read(ours); !bytes.Equal(again, want) || mended != nil || err != nil {
					t.Errorf("file %s, copy %s, after it was mended: %q, %v, %v", first, second, again, mended, err)
				}
			default:
				if data != nil || !errors.Is(err, atomicfile.ErrDamaged) {
					t.Errorf("file %s, copy %s: %q, %v", first, second, data, err)
				}

				if err := twin.Write(want); err != nil {
					t.Errorf("file %s, copy %s cannot be written again: %v", first, second, err)
				}
			}
		}
	}
}

// TestTwinIsNotBelievedWithoutItsSeal: bytes that look well but are not what was written lose against the copy.
func TestTwinIsNotBelievedWithoutItsSeal(t *testing.T) {
	dir := t.TempDir()
	twin := atomicfile.Twin{Path: filepath.Join(dir, "file"), Copy: filepath.Join(dir, "file.copy"), Mode: 0o600}

	check(t, twin.Write([]byte("ours and dear")))
	change(t, twin.Path, func(b []byte) { b[len(b)-1] ^= 1 })

	if data, mended, err := twin.Read(ours); string(data) != "ours and dear" || mended == nil || err != nil {
		t.Errorf("%q, %v, %v", data, mended, err)
	}

	if aside, err := os.ReadFile(twin.Path + ".damaged"); err != nil || !bytes.HasPrefix(aside, []byte("ours and dea")) {
		t.Errorf("the damaged one is not kept: %q, %v", aside, err)
	}
}

// TestTwinOfAnOlderBuild: a file without a copy is taken and gets one.
func TestTwinOfAnOlderBuild(t *testing.T) {
	dir := t.TempDir()
	twin := atomicfile.Twin{Path: filepath.Join(dir, "file"), Copy: filepath.Join(dir, "file.copy"), Mode: 0o600}

	check(t, os.WriteFile(twin.Path, []byte("ours and old"), 0o600))

	if data, mended, err := twin.Read(ours); string(data) != "ours and old" || mended != nil || err != nil {
		t.Errorf("%q, %v, %v", data, mended, err)
	}

	change(t, twin.Path, func(b []byte) { b[7] ^= 1 })

	if data, _, err := twin.Read(ours); string(data) != "ours and old" || err != nil {
		t.Errorf("it has no copy: %q, %v", data, err)
	}
}

func change(t *testing.T, path string, how func([]byte)) {
	t.Helper()

	data, err := os.ReadFile(path)
	check(t, err)
	how(data)
	check(t, os.WriteFile(path, data, 0o600))
}

func check(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}
