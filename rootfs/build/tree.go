package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/rootfs/internal/debian"
	"github.com/dactyl-os/dactyl/rootfs/internal/programs"
	"github.com/dactyl-os/dactyl/rootfs/internal/spec"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// Parts of the table of sizes.
const (
	partStatic   = "static files"
	partDaemons  = "daemons"
	partUpstream = "containerd, runc, CNI"
	partDebian   = "Debian programs"
	partModules  = "kernel modules"
)

// tree puts the root filesystem together.
func (b *builder) tree(ctx context.Context) (*tree.Tree, error) {
	t := tree.New()

	for _, add := range []func(context.Context, *tree.Tree) error{
		b.addStatic, b.addModules, b.addDebian, b.addUpstream, b.addDaemons,
	} {
		if err := add(ctx, t); err != nil {
			return nil, err
		}
	}

	return t, nil
}

func (b *builder) addStatic(_ context.Context, t *tree.Tree) error {
	t.Part(partStatic)

	for _, d := range b.spec.Tree.Directories {
		mode, err := directoryMode(d)
		if err != nil {
			return err
		}

		t.Dir(d.Path, mode)
	}

	for name, target := range b.spec.Tree.Links {
		t.Link(name, target)
	}

	replace := strings.NewReplacer("{tag}", b.tag, "{plain-tag}", strings.ReplaceAll(b.tag, "+", "-"), "{sha}", b.sha)
	for name, content := range b.spec.Tree.Files {
		t.Data(name, []byte(replace.Replace(content)), 0o644)
	}

	return nil
}

func directoryMode(d spec.Directory) (fs.FileMode, error) {
	if d.Mode == "" {
		return 0o755, nil
	}

	bits, err := strconv.ParseUint(d.Mode, 8, 12)
	if err != nil {
		return 0, fmt.Errorf("mode of %s: %w", d.Path, err)
	}

	mode := fs.FileMode(bits & 0o777)
	if bits&0o1000 != 0 {
		mode |= fs.ModeSticky
	}

	return mode, nil
}

func (b *builder) addModules(ctx context.Context, t *tree.Tree) error {
	t.Part(partModules)

	dir, set, err := b.modules(ctx)
	if err != nil {
		return err
	}

	list, err := set.Select(b.spec.Kernel.Modules, b.spec.Kernel.Without)
	if err != nil {
		return err
	}

	index, err := set.Index(list)
	if err != nil {
		return err
	}

	place := "/usr/lib/modules/" + b.release() + "/"
	for name, data := range index {
		t.Data(place+name, data, 0o644)
	}

	for _, name := range []string{"modules.builtin", "modules.builtin.modinfo"} {
		t.File(place+name, filepath.Join(dir, name), 0o644)
	}

	for _, m := range list {
		t.File(place+m.Path, filepath.Join(dir, m.Path), 0o644)
	}

	return nil
}

func (b *builder) unpack(ctx context.Context, p spec.Package) (string, error) {
	arch := b.arch
	if _, ok := p.SHA256["all"]; ok {
		arch = "all"
	}

	return b.debs.Unpack(ctx, debian.Package{Name: p.Name, Version: p.Version, Arch: arch, SHA256: p.SHA256[arch]})
}

func (b *builder) addDebian(ctx context.Context, t *tree.Tree) error {
	t.Part(partDebian)

	for _, p := range b.spec.Packages.Packages {
		if p.Build {
			continue
		}

		dir, err := b.unpack(ctx, p)
		if err != nil {
			return err
		}

		if err = b.addPackage(t, p, dir); err != nil {
			return fmt.Errorf("package %s: %w", p.Name, err)
		}
	}

	return nil
}

func (b *builder) addPackage(t *tree.Tree, p spec.Package, dir string) error {
	for _, name := range p.Programs {
		t.File("/usr/bin/"+filepath.Base(name), filepath.Join(dir, name), 0o755)
	}

	for _, name := range p.Files {
		t.File(name, filepath.Join(dir, name), 0o644)
	}

	for _, name := range p.Directories {
		name = strings.ReplaceAll(name, "{triple}", b.triple)
		if err := t.Copy(name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}

	for name, target := range p.Links {
		t.Link(name, target)
	}

	libraries := p.Libraries
	if p.Name == "libc6" {
		libraries = append(slices.Clone(libraries), b.spec.Packages.Loader[b.arch])
	}

	for _, name := range libraries {
		file, err := library(dir, b.triple, name)
		if err != nil {
			return err
		}

		mode := fs.FileMode(0o644)
		if name == b.spec.Packages.Loader[b.arch] {
			mode = 0o755 // the kernel runs it, like a program
		}

		t.File("/usr/lib/"+name, file, mode)
	}

	if p.Certificates == "" {
		return nil
	}

	bundle, err := certificates(filepath.Join(dir, p.Certificates))
	t.Data("/etc/ssl/certs/ca-certificates.crt", bundle, 0o644)

	return err
}

// library finds the file that a library's name stands for; packages built before and after /usr was merged differ.
func library(dir, triple, name string) (string, error) {
	for _, place := range []string{"usr/lib", "lib"} {
		file, err := filepath.EvalSymlinks(filepath.Join(dir, place, triple, name))
		if err == nil {
			return file, nil
		}
	}

	return "", fmt.Errorf("no library %s", name)
}

// certificates joins the trusted roots, sorted by file name.
func certificates(dir string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.crt"))
	if err != nil {
		return nil, err
	}

	if len(files) == 0 {
		return nil, fmt.Errorf("no certificates in %s", dir)
	}

	var bundle bytes.Buffer

	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}

		bundle.Write(append(bytes.TrimSpace(data), '\n'))
	}

	return bundle.Bytes(), nil
}

func (b *builder) addUpstream(ctx context.Context, t *tree.Tree) error {
	t.Part(partUpstream)

	for _, p := range b.spec.Programs.Programs {
		file, err := b.upstream(ctx, p)
		if err != nil {
			return err
		}

		t.File(p.Path, file, 0o755)
	}

	return nil
}

func (b *builder) upstream(ctx context.Context, p spec.Program) (string, error) {
	program, err := b.upstreamProgram(ctx, p)
	if err != nil {
		return "", err
	}

	return program.Cached(ctx, b.arch, filepath.Join(b.cache, "programs"))
}

// module is the directory of the go.mod that pins a program.
func (b *builder) module(p spec.Program) string {
	return filepath.Join(b.repository, "rootfs", p.Module)
}

func (b *builder) upstreamProgram(ctx context.Context, p spec.Program) (programs.Program, error) {
	program := programs.Program{Package: p.Package, Dir: b.module(p), Tags: p.Tags, LDFlags: p.LDFlags, CGO: p.CGO}

	if strings.Contains(p.LDFlags, "{version}") {
		version, err := programs.Version(program.Dir, p.Package)
		if err != nil {
			return program, err
		}

		program.LDFlags = strings.ReplaceAll(p.LDFlags, "{version}", version)
	}

	if p.CGO {
		at := slices.IndexFunc(b.spec.Packages.Packages, func(p spec.Package) bool { return p.Build })

		dir, err := b.unpack(ctx, b.spec.Packages.Packages[at])
		if err != nil {
			return program, err
		}

		if program.Libraries, err = filepath.Abs(dir); err != nil {
			return program, err
		}
	}

	return program, nil
}
