// Command called prints the programs that the Go files below the directories it is given start, one a line: string literals
// that reach os/exec, directly or through functions that start what an argument names.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	files, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "called:", err)
		os.Exit(1)
	}

	for _, program := range programs(files) {
		fmt.Println(program)
	}
}

// parse reads every Go file below dirs but those in directories that start with an underscore.
func parse(dirs []string) ([]*ast.File, error) {
	var files []*ast.File

	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && strings.HasPrefix(entry.Name(), "_"):
				return fs.SkipDir
			case !strings.HasSuffix(path, ".go"):
				return nil
			}

			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			files = append(files, file)

			return err
		})
		if err != nil {
			return nil, err
		}
	}

	return files, nil
}
