package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dactyl-os/dactyl/rootfs/internal/debian"
	"github.com/dactyl-os/dactyl/rootfs/internal/image"
	"github.com/dactyl-os/dactyl/rootfs/internal/modules"
	"github.com/dactyl-os/dactyl/rootfs/internal/programs"
	"github.com/dactyl-os/dactyl/rootfs/internal/spec"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

type builder struct {
	options
	spec   *spec.Spec
	debs   debian.Cache
	triple string
	set    *modules.Set // of all modules, once read
	log    func(format string, args ...any)
}

func newBuilder(o options, stderr io.Writer) (*builder, error) {
	b := &builder{options: o}

	var err error
	if b.triple, err = programs.Triple(o.arch); err != nil {
		return nil, err
	}

	if b.spec, err = spec.Load(filepath.Join(o.repository, "rootfs")); err != nil {
		return nil, err
	}

	b.log = func(format string, args ...any) { fmt.Fprintf(stderr, "    "+format+"\n", args...) }
	b.debs = debian.Cache{Dir: o.cache, Log: b.log}

	return b, os.MkdirAll(o.out, 0o755)
}

// kernel writes OUT/vmlinuz-ARCH.
func (b *builder) kernel(ctx context.Context) error {
	dir, err := b.kernelPackage(ctx)
	if err != nil {
		return err
	}

	data, err := os.ReadFile(filepath.Join(dir, "boot", "vmlinuz-"+b.release()))
	if err != nil {
		return err
	}

	return os.WriteFile(b.output("vmlinuz-%s"), data, 0o644)
}

// rootfs writes OUT/rootfs-ARCH.sqsh.
func (b *builder) rootfs(ctx context.Context) error {
	_, err := b.images(ctx)

	return err
}

// initramfs writes OUT/initramfs-ARCH.xz around the images.
func (b *builder) initramfs(ctx context.Context) error {
	images, err := b.images(ctx)
	if err != nil {
		return err
	}

	early, err := b.early(ctx)
	if err != nil {
		return err
	}

	return image.Initramfs(ctx, early, images, b.output("initramfs-%s.xz"), b.epoch)
}

// images packs the root file system and gives the images by the place where they are mounted: the root's is
// OUT/rootfs-ARCH.sqsh, those of tree.yaml's images are in the cache. An image whose content did not change stays.
func (b *builder) images(ctx context.Context) (map[string]string, error) {
	t, err := b.tree(ctx)
	if err != nil {
		return nil, err
	}

	if err = b.check(t); err != nil {
		return nil, err
	}

	images := map[string]string{}

	dir := filepath.Join(b.cache, "images", b.arch)
	if err = os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}

	for _, apart := range b.spec.Tree.Images {
		output := filepath.Join(dir, strings.ReplaceAll(apart.Path[1:], "/", "-")+".sqsh")
		images[apart.Path] = output

		// Not the commit's time: what does not change must not change with a commit.
		if err = b.pack(ctx, t.Split(apart.Path), output, 0, image.Packing(apart.Packing)); err != nil {
			return nil, fmt.Errorf("image of %s: %w", apart.Path, err)
		}
	}

	images["/"] = b.output("rootfs-%s.sqsh")

	packing := image.Small
	if b.fast {
		packing = image.Fast
	}

	return images, b.pack(ctx, t, images["/"], b.epoch, packing)
}

func (b *builder) pack(ctx context.Context, t *tree.Tree, output string, epoch int64, packing image.Packing) error {
	start := time.Now()

	packed, err := image.Pack(ctx, t, output, epoch, packing)
	if packed {
		b.log("packed %s in %s", output, time.Since(start).Round(time.Second))
	}

	return err
}

// early is what the kernel unpacks itself: stage1, the modules it loads, and the places it mounts to.
func (b *builder) early(ctx context.Context) (*tree.Tree, error) {
	t := tree.New()
	for _, dir := range []string{"dev", "proc", "root", "sys"} {
		t.Dir(dir, 0o755)
	}

	t.Device("dev/console", 0o600, 5, 1)
	t.Device("dev/kmsg", 0o600, 1, 11)

	stage1, err := b.own(ctx, "./rootfs/stage1", false)
	if err != nil {
		return nil, err
	}

	t.File("init", stage1, 0o755)

	dir, set, err := b.modules(ctx)
	if err != nil {
		return nil, err
	}

	list, err := set.Closure(b.spec.Kernel.Stage1)
	if err != nil {
		return nil, err
	}

	for i, m := range list {
		t.File(fmt.Sprintf("modules/%02d-%s.ko", i, m.Name), filepath.Join(dir, m.Path), 0o644)
	}

	return t, nil
}

// modules gives the directory of the kernel package's modules and what they say about themselves.
func (b *builder) modules(ctx context.Context) (string, *modules.Set, error) {
	dir, err := b.kernelPackage(ctx)
	if err != nil {
		return "", nil, err
	}

	dir = filepath.Join(dir, "lib/modules", b.release())

	if b.set == nil {
		b.set, err = modules.Read(dir)
	}

	return dir, b.set, err
}

func (b *builder) kernelPackage(ctx context.Context) (string, error) {
	k := b.spec.Kernel

	return b.debs.Unpack(ctx, debian.Package{
		Name: k.Package + "-" + b.arch, Version: k.Version, Arch: b.arch, SHA256: k.SHA256[b.arch],
	})
}

// release is what uname -r says.
func (b *builder) release() string { return b.spec.Kernel.Release + "-" + b.arch }

func (b *builder) output(format string) string {
	return filepath.Join(b.out, fmt.Sprintf(format, b.arch))
}
