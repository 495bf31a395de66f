package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

func TestPrograms(t *testing.T) {
	const source = `package outside_test

import (
	"context"
	"example.com/outside"
	"os/exec"
)

func Run(ctx context.Context, name string, args ...string) { exec.CommandContext(ctx, name, args...) }
func Must(args ...string)                                  { Run(nil, args[0], args[1:]...) }
func log(text string)                                      { println(text) }

func direct() {
	exec.LookPath("etcdctl")
	exec.Command("/proc/self/exe", "no")
	log("no")
}

func through() { Must("ip", "link"); outside.Run(nil, "socat", "-") }

func table(ctx context.Context) {
	for _, command := range [][]string{{"mcopy", "-i"}, {"mkfs.vfat", "no"}} {
		exec.CommandContext(ctx, command[0], command[1:]...)
	}
}
`
	file, err := parser.ParseFile(token.NewFileSet(), "x_test.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}

	want := []string{"etcdctl", "ip", "mcopy", "mkfs.vfat", "socat"}
	if got := programs([]*ast.File{file}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
