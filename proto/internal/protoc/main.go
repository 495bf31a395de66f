// Command protoc compiles .proto files, gives them to plugins and writes what these make: the few flags of protoc that
// proto/generate needs, so that no machine's protoc decides what is generated. It is a module of its own: its compiler
// enters nobody else's graph.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

type options struct {
	root    string   // where imports are looked for
	out     string   // where plugins' files go
	set     string   // a file for the descriptors of the files and all they import, in wire format
	param   string   // what each plugin gets as its parameter
	plugins []string // programs
	files   []string // below root
}

func main() {
	o := options{}
	flag.StringVar(&o.root, "root", ".", "look for .proto files in `DIRECTORY`")
	flag.StringVar(&o.out, "out", ".", "write generated files below `DIRECTORY`")
	flag.StringVar(&o.set, "set", "", "write the descriptors, imports included, to `FILE`")
	flag.StringVar(&o.param, "param", "", "`PARAMETER` of every plugin")
	flag.Func("plugin", "run `PROGRAM`; may be repeated", func(program string) error {
		o.plugins = append(o.plugins, program)

		return nil
	})
	flag.Parse()
	o.files = flag.Args()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "protoc:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if len(o.files) == 0 {
		return errors.New("no files: name them relative to -root")
	}
	all, err := compile(ctx, o.root, o.files)
	if err != nil {
		return fmt.Errorf("compile %s: %w", strings.Join(o.files, " "), err)
	}
	for _, program := range o.plugins {
		if err := generate(ctx, program, o, all); err != nil {
			return fmt.Errorf("plugin %s: %w", program, err)
		}
	}
	if o.set == "" {
		return nil
	}

	return writeSet(o.set, all)
}
