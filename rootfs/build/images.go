package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/dactyl-os/dactyl/rootfs/internal/image"
	"github.com/dactyl-os/dactyl/rootfs/internal/oci"
	"github.com/dactyl-os/dactyl/rootfs/internal/programs"
	"github.com/dactyl-os/dactyl/rootfs/internal/spec"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// containers writes the images of images.yaml into the layout OUT/images, each for all architectures. An image that is there
// already, made from the same, stays.
func containers(ctx context.Context, builders []*builder, only []string) error {
	first := builders[0]

	list := first.spec.Images.Images
	if len(only) > 0 {
		list = slices.DeleteFunc(slices.Clone(list), func(c spec.Container) bool { return !slices.Contains(only, c.Name) })
		if len(list) != len(only) {
			return fmt.Errorf("images.yaml does not have all of %s", strings.Join(only, ", "))
		}
	}

	layout, err := oci.Open(filepath.Join(first.out, "images"))
	if err != nil {
		return err
	}

	work, err := pending(ctx, builders, list)
	if err != nil {
		return err
	}

	for _, c := range list {
		if err = container(ctx, layout, c, builders, work); err != nil {
			return fmt.Errorf("image %s: %w", c.Name, err)
		}
	}

	return layout.Clean()
}

// container puts one image into the layout.
func container(ctx context.Context, layout oci.Layout, c spec.Container, builders []*builder, work *progress) error {
	tag, err := builders[0].tagOf(c)
	if err != nil {
		return err
	}

	var (
		platforms []oci.Platform
		keys      []string
	)

	for _, b := range builders {
		t, err := b.container(ctx, c, work)
		if err != nil {
			return err
		}

		config := v1.Config{Entrypoint: c.Entrypoint, Env: c.Env, User: c.User, WorkingDir: "/"}
		if len(config.Env) == 0 {
			config.Env = []string{"PATH=/usr/local/bin:/usr/bin:/opt/bin"}
		}

		key, err := image.Digest(t, fmt.Sprint("oci 1 ", runtime.Version(), b.arch, config))
		if err != nil {
			return err
		}

		platforms, keys = append(platforms, oci.Platform{Arch: b.arch, Tree: t, Config: config}), append(keys, key)
	}

	name := c.Name + ":" + tag
	key := strings.Join(keys, "+")

	if has, err := layout.Has(name, key); has || err != nil {
		return err
	}

	digest, err := layout.Put(ctx, name, key, platforms)
	if err == nil {
		builders[0].log("%s is %s", name, digest)
	}

	return err
}

// tagOf gives the tag of an image.
func (b *builder) tagOf(c spec.Container) (string, error) {
	if !strings.Contains(c.Tag, "{version}") {
		return c.Tag, nil
	}

	version, err := programs.Version(b.module(c.Programs[0]), c.Programs[0].Package)

	return strings.ReplaceAll(c.Tag, "{version}", version), err
}

// container puts the files of an image together.
func (b *builder) container(ctx context.Context, c spec.Container, work *progress) (*tree.Tree, error) {
	t := tree.New()
	t.Dir("/tmp", 0o777|fs.ModeSticky)

	for name, target := range b.spec.Images.Links {
		t.Link(name, target)
	}

	t.Dir("/usr/bin", 0o755)
	t.Dir("/usr/lib", 0o755)

	for name, text := range b.spec.Images.Files {
		t.Data(name, []byte(text), 0o644)
	}

	for _, name := range c.Packages {
		if err := b.addNamed(ctx, t, name); err != nil {
			return nil, fmt.Errorf("package %s: %w", name, err)
		}
	}

	for name, target := range c.Links {
		t.Link(name, target)
	}

	for _, p := range c.Programs {
		file, err := b.program(ctx, p, work)
		if err != nil {
			return nil, err
		}

		t.File(p.Path, file, 0o755)
	}

	missing, err := t.Missing()
	if len(missing) > 0 {
		return nil, fmt.Errorf("libraries are missing: %s", strings.Join(missing, ", "))
	}

	return t, err
}

// addNamed adds a package of packages.yaml or images.yaml.
func (b *builder) addNamed(ctx context.Context, t *tree.Tree, name string) error {
	for _, list := range [][]spec.Package{b.spec.Packages.Packages, b.spec.Images.Packages} {
		at := slices.IndexFunc(list, func(p spec.Package) bool { return p.Name == name })
		if at < 0 {
			continue
		}

		dir, err := b.unpack(ctx, list[at])
		if err != nil {
			return err
		}

		return b.addPackage(t, list[at], dir)
	}

	return errors.New("it is neither in packages.yaml nor in images.yaml")
}

// program gives a built program: an upstream one, one of C, or a Go program of this module.
func (b *builder) program(ctx context.Context, p spec.Program, work *progress) (string, error) {
	upstream, err := b.upstreamProgram(ctx, p)
	if err != nil {
		return "", err
	}

	cache := filepath.Join(b.cache, "programs")

	built, err := upstream.Built(ctx, b.arch, cache)
	if err != nil {
		return "", err
	}

	if !built {
		work.begin(p, b.arch)
		defer work.end(p)
	}

	return upstream.Cached(ctx, b.arch, cache)
}

// progress tells how far a build is, by the table's seconds and by how much slower than them it was until now.
type progress struct {
	log         func(format string, args ...any)
	count, done int
	left, spent int
	started     time.Time
	took        time.Duration
}

// pending counts the programs that have to be compiled.
func pending(ctx context.Context, builders []*builder, list []spec.Container) (*progress, error) {
	work := &progress{log: builders[0].log}

	for _, b := range builders {
		for _, c := range list {
			for _, p := range c.Programs {
				program, err := b.upstreamProgram(ctx, p)
				if err != nil {
					return nil, err
				}

				built, err := program.Built(ctx, b.arch, filepath.Join(b.cache, "programs"))
				if err != nil {
					return nil, err
				}

				if !built {
					work.count++
					work.left += seconds(p)
				}
			}
		}
	}

	return work, nil
}

// seconds is what a program takes that the table says nothing of.
func seconds(p spec.Program) int { return max(p.Seconds, 2) }

func (w *progress) begin(p spec.Program, arch string) {
	w.done++
	w.started = time.Now()
	w.log("compiling %s for %s (%d of %d): about %s to go, when nothing was compiled before",
		filepath.Base(p.Path), arch, w.done, w.count, w.estimate())
}

// enough is how many of the table's seconds tell how fast this machine is.
const enough = 60

func (w *progress) estimate() time.Duration {
	left := float64(w.left)
	if w.spent >= enough {
		left *= w.took.Seconds() / float64(w.spent)
	}

	return (time.Duration(left) * time.Second).Round(time.Second)
}

func (w *progress) end(p spec.Program) {
	w.left -= seconds(p)
	w.spent += seconds(p)
	w.took += time.Since(w.started)
}
