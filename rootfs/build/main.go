// Command build makes the kernel, the root filesystem and the initramfs of an image, the same bytes from the same commit.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "rootfs:", err)
		stop()
		os.Exit(1)
	}
}

// options are the flags; the Makefile fills them in.
type options struct {
	repository, out, cache string
	arch                   string
	tag, sha               string
	ldflags, tags          string
	linked, alone          []string
	swap                   map[string]string
	epoch                  int64
	race                   bool
	update, fast           bool
	only                   []string
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	o := options{swap: map[string]string{}}
	flags := flag.NewFlagSet("rootfs", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.repository, "repository", ".", "the repository's directory")
	flags.StringVar(&o.out, "out", "_out", "where the results go")
	flags.StringVar(&o.cache, "cache", "", "where packages and built programs are kept (default OUT/cache)")
	flags.StringVar(&o.arch, "arch", "amd64", "amd64 or arm64; for images both with a comma")
	flags.StringVar(&o.tag, "tag", "", "version of the image")
	flags.StringVar(&o.sha, "sha", "", "commit of the image")
	flags.StringVar(&o.ldflags, "ldflags", "", "linker flags of our own programs")
	flags.StringVar(&o.tags, "tags", "", "build tags of our own programs, with commas")
	flags.Int64Var(&o.epoch, "epoch", 0, "the commit's time, which every file gets (seconds since 1970)")
	flags.BoolVar(&o.race, "race", false, "build our own programs with the race detector")
	flags.BoolVar(&o.fast, "fast", false, "pack the root image quickly instead of small")
	flags.BoolVar(&o.update, "update", false, "write executables.txt instead of comparing with it")
	flags.Func("linked", "daemons in the multi-call program", words(&o.linked))
	flags.Func("alone", "daemons that are programs of their own", words(&o.alone))
	flags.Func("only", "the container images to build, by name (default: all)", words(&o.only))
	flags.Func("swap", "NAME=FILE: this program instead of the built one (repeatable)", o.addSwap)

	if err := flags.Parse(args); err != nil {
		return err
	}

	if o.cache == "" {
		o.cache = o.out + "/cache"
	}

	if err := o.checkSwaps(); err != nil {
		return err
	}

	if flags.Arg(0) == "images" {
		return images(ctx, o, stderr)
	}

	b, err := newBuilder(o, stderr)
	if err != nil {
		return err
	}

	switch what := flags.Arg(0); what {
	case "kernel":
		return b.kernel(ctx)
	case "rootfs":
		return b.rootfs(ctx)
	case "initramfs":
		return b.initramfs(ctx)
	case "sizes":
		return b.sizes(ctx, os.Stdout)
	default:
		return fmt.Errorf("%q: want kernel, rootfs, initramfs, images or sizes", what)
	}
}

// images builds container images for all architectures that are asked for.
func images(ctx context.Context, o options, stderr io.Writer) error {
	var builders []*builder

	for arch := range strings.SplitSeq(o.arch, ",") {
		one := o
		one.arch = arch

		b, err := newBuilder(one, stderr)
		if err != nil {
			return err
		}

		builders = append(builders, b)
	}

	return containers(ctx, builders, o.only)
}

func words(into *[]string) func(string) error {
	return func(value string) error {
		*into = strings.Fields(value)

		return nil
	}
}
