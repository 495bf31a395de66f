package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEveryCommandHasAScenario: what no test runs against a cluster (tools/e2e) or machines (tools/vm) does not exist.
func TestEveryCommandHasAScenario(t *testing.T) {
	scenarios := scenarioWords(t, "../e2e/*_test.go", "../vm/*_test.go", "../internal/cluster/*_test.go")

	for _, path := range leaves((&app{}).root()) {
		if !slices.ContainsFunc(scenarios, func(words []string) bool { return runs(words, path[1:]) }) {
			t.Errorf("`%s` has no scenario: add one to tools/e2e/commands_test.go", strings.Join(path, " "))
		}
	}
}

// leaves are the paths of all commands of the help that do something.
func leaves(cmd *cobra.Command) [][]string {
	var paths [][]string

	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			paths = append(paths, leaves(sub)...)
		}
	}

	if cmd.Runnable() {
		paths = append(paths, strings.Fields(cmd.CommandPath()))
	}

	return paths
}

// runs is true when the words of a command line, flags and their values between them, name a command.
func runs(words, path []string) bool {
	for _, name := range path {
		at := slices.Index(words, name)
		if at < 0 {
			return false
		}

		words = words[at+1:]
	}

	return true
}

// scenarioWords are the command lines in test files: the literal words of calls to ctl, try, Dactylctl and firstLine, and of the
// field "run" of tables, and those that createArgs gives.
func scenarioWords(t *testing.T, patterns ...string) [][]string {
	t.Helper()

	var lines [][]string

	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (%v)", pattern, err)
		}

		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}

			ast.Inspect(file, func(node ast.Node) bool {
				if words := commandLine(node); len(words) > 0 {
					lines = append(lines, words)
				}

				return true
			})
		}
	}

	return lines
}

func commandLine(node ast.Node) []string {
	switch n := node.(type) {
	case *ast.CallExpr:
		name := ""

		switch f := n.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
		}

		if slices.Contains([]string{"ctl", "try", "Dactylctl", "firstLine"}, name) {
			return words(n)
		}
	case *ast.FuncDecl:
		if n.Name.Name == "createArgs" {
			return words(n)
		}
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok && key.Name == "run" {
			return words(n.Value)
		}
	}

	return nil
}

// words are the words of all string literals below a node, in order.
func words(node ast.Node) []string {
	var found []string

	ast.Inspect(node, func(node ast.Node) bool {
		if lit, ok := node.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				found = append(found, strings.Fields(text)...)
			}
		}

		return true
	})

	return found
}
