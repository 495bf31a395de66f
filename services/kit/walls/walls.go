// Package walls keeps daemons apart: it reads the imports of every module under services/ and tells which break the rule
// that a daemon imports proto/ and services/kit, never another daemon.
package walls

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Prefix is the module path that all of the repository's modules begin with.
const Prefix = "github.com/dactyl-os/dactyl/"

// forbidden are modules whose code may not get into the repository, with the reason.
var forbidden = map[string]string{
	"github.com/siderolabs/talos": "the contract is implemented in our own code",
}

// Breach is an import that breaks the rule.
type Breach struct {
	// File is relative to the root of the repository, Line the import's.
	File   string
	Import string
	Why    string
	Line   int
}

// String gives file:line, the import and why it may not be.
func (b Breach) String() string {
	return fmt.Sprintf("%s:%d imports %s: %s", b.File, b.Line, b.Import, b.Why)
}

// Check reads every Go file of the repository, tests included.
func Check(root string) ([]Breach, error) {
	var breaches []Breach

	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}

		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && file != root || entry.Name() == "_out" || entry.Name() == "testdata") {
			return fs.SkipDir
		}

		if entry.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}

		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}

		found, err := checkFile(file, filepath.ToSlash(rel))
		breaches = append(breaches, found...)

		return err
	})

	return breaches, err
}

func checkFile(file, rel string) ([]Breach, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}

	set := token.NewFileSet()

	parsed, err := parser.ParseFile(set, file, src, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}

	var breaches []Breach

	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}

		if why := Why(rel, imported); why != "" {
			breaches = append(breaches, Breach{File: rel, Line: set.Position(spec.Pos()).Line, Import: imported, Why: why})
		}
	}

	return breaches, nil
}

// Why tells why a file of the repository may not import a package, or "".
func Why(file, imported string) string {
	for module, why := range forbidden {
		if imported == module || strings.HasPrefix(imported, module+"/") {
			return why
		}
	}

	own, ok := strings.CutPrefix(imported, Prefix)
	if !ok {
		return ""
	}

	here, there := roomOf(file), roomOf(own)

	switch {
	case here == there, there == "proto", there == "services/kit" && here != "proto":
		return ""
	case here == "services/dactyl" && strings.HasPrefix(there, "services/"):
		// The multi-call program links the daemons' constructors together, and nothing else.
		return ""
	case here == "services/kit" || here == "proto":
		return here + " is imported by every daemon and may import none of them"
	case strings.HasPrefix(here, "services/"):
		return path.Base(here) + " is a daemon of its own: it meets " + path.Base(there) + " only through gRPC methods and resources (env.Dial, env.State)"
	case there == "services/dactyl":
		return "services/dactyl is a program, not a library"
	default:
		return ""
	}
}

// roomOf gives the module that a path of the repository belongs to.
func roomOf(p string) string {
	parts := strings.SplitN(p, "/", 3)
	if parts[0] == "services" && len(parts) > 1 {
		return "services/" + parts[1]
	}

	return parts[0]
}
