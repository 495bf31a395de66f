package walls_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mention is a test in SECURITY.md, or the folder of the tests before it.
var mention = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`| in ((?:services|tools|proto)[A-Za-z0-9/]*)")

// TestPromisesAreHeld looks for each test that SECURITY.md names, in the folder that follows its name there.
func TestPromisesAreHeld(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}

	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}

	held := 0

	for number, line := range strings.Split(string(text), "\n") {
		var names []string

		for _, found := range mention.FindAllStringSubmatch(line, -1) {
			if found[1] != "" {
				names = append(names, found[1])

				continue
			}

			for _, name := range names {
				if !hasTest(t, filepath.Join(root, found[2]), name) {
					t.Errorf("SECURITY.md:%d: there is no %s in %s", number+1, name, found[2])
				}

				held++
			}

			names = nil
		}

		if names != nil {
			t.Errorf("SECURITY.md:%d: say in which folder %s is", number+1, strings.Join(names, ", "))
		}
	}

	if held < 20 {
		t.Errorf("only %d tests are named", held)
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()

	found := false

	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || found || !strings.HasSuffix(path, "_test.go") {
			return err
		}

		data, err := os.ReadFile(path)
		found = strings.Contains(string(data), "\nfunc "+name+"(")

		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	return found
}
