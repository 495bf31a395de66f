// Package programs builds the Go programs of an image: pinned upstream ones, and our own.
package programs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// Program is one Go program.
type Program struct {
	// Package is the import path, or a path below Dir that starts with "./".
	Package string
	// Dir is where the go command runs.
	Dir string
	// Workspace builds with go.work; upstream programs are built with the versions of their own go.mod alone.
	Workspace bool
	Tags      []string
	LDFlags   string
	// CGO links C statically; Libraries is a directory with usr/include and usr/lib/TRIPLE.
	CGO       bool
	Libraries string
	Race      bool
}

// Triples are Debian's names for the architectures.
var triples = map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

// Triple gives Debian's name for an architecture.
func Triple(arch string) (string, error) {
	if t, ok := triples[arch]; ok {
		return t, nil
	}

	return "", fmt.Errorf("architecture %q: only amd64 and arm64", arch)
}

// Build builds the program for linux and arch.
func (p Program) Build(ctx context.Context, arch, output string) error {
	if p.c() {
		return p.buildC(ctx, arch, output)
	}

	env, flags, err := p.options(arch)
	if err != nil {
		return err
	}

	output, err = filepath.Abs(output)
	if err != nil {
		return err
	}

	args := append([]string{"build", "-trimpath", "-buildvcs=false"}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", output, p.Package)...)
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr

	if err = cmd.Run(); err != nil {
		return fmt.Errorf("build %s for %s: %w", p.Package, arch, err)
	}

	return nil
}

// c is true for a program of one C file, which is linked statically.
func (p Program) c() bool { return strings.HasSuffix(p.Package, ".c") }

// buildC compiles a C program; LDFlags is its VERSION.
func (p Program) buildC(ctx context.Context, arch, output string) error {
	triple, err := Triple(arch)
	if err != nil {
		return err
	}

	output, err = filepath.Abs(output)
	if err != nil {
		return err
	}

	cmd := exec.CommandContext(ctx, compiler(arch, triple), "-std=gnu17", "-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s",
		"-Wl,--build-id=none", "-DVERSION=\""+p.LDFlags+"\"", "-o", output, p.Package)
	cmd.Dir = p.Dir
	cmd.Stderr = os.Stderr

	if err = cmd.Run(); err != nil {
		return fmt.Errorf("build %s for %s: %w", p.Package, arch, err)
	}

	return nil
}

func (p Program) options(arch string) (env, flags []string, err error) {
	triple, err := Triple(arch)
	if err != nil {
		return nil, nil, err
	}

	ldflags := "-s -w"
	if p.CGO || p.Race || !p.own() {
		// The identifier of a cgo program has the paths of its C flags in it. By that of our own programs the go command sees
		// that there is nothing to link again.
		ldflags += " -buildid="
	}

	env = []string{"GOOS=linux", "GOARCH=" + arch, "GOFLAGS="}

	if !p.Workspace {
		env = append(env, "GOWORK=off")
	}

	switch {
	case p.Race:
		env = append(env, "CGO_ENABLED=1", "CC="+compiler(arch, triple))
		flags = append(flags, "-race")
	case p.CGO:
		include, lib := filepath.Join(p.Libraries, "usr/include"), filepath.Join(p.Libraries, "usr/lib", triple)
		env = append(env, "CGO_ENABLED=1", "CC="+compiler(arch, triple), "PKG_CONFIG=true",
			"CGO_CFLAGS=-O2 -g0 -I"+include, "CGO_LDFLAGS=-L"+lib+" -lseccomp")
		flags = append(flags, "-buildmode=pie")
		ldflags += " -linkmode external -extldflags '-static-pie -Wl,--build-id=none'"
	default:
		env = append(env, "CGO_ENABLED=0")
	}

	if p.LDFlags != "" {
		ldflags += " " + p.LDFlags
	}

	return env, append(flags, "-tags="+strings.Join(p.Tags, ","), "-ldflags="+ldflags), nil
}

// own tells programs of this repository from upstream ones, which are built once.
func (p Program) own() bool { return strings.HasPrefix(p.Package, "./") }

func compiler(arch, triple string) string {
	if arch == runtime.GOARCH {
		return "gcc"
	}

	return triple + "-gcc"
}

// Key tells programs apart that would come out differently: the flags, the compiler and the pinned versions.
func (p Program) Key(ctx context.Context, arch string) (string, error) {
	_, flags, err := p.options(arch)
	if err != nil {
		return "", err
	}

	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), arch, p.Package, p.CGO, filepath.Base(p.Libraries), flags)

	for _, name := range []string{"GOAMD64", "GOARM64", "GOEXPERIMENT"} {
		if value := os.Getenv(name); value != "" {
			fmt.Fprintln(sum, name, value)
		}
	}

	if p.CGO || p.c() {
		triple, _ := Triple(arch) // options checked it

		version, err := exec.CommandContext(ctx, compiler(arch, triple), "--version").Output()
		if err != nil {
			return "", fmt.Errorf("ask the C compiler for its version: %w", err)
		}

		fmt.Fprintf(sum, "%s", version)
	}

	files, err := p.sources()
	if err != nil {
		return "", err
	}

	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}

		fmt.Fprintf(sum, "%s", data)
	}

	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// sources are the files that a program depends on, besides what go.sum has the digest of: those of a program of our own are in one
// directory.
func (p Program) sources() ([]string, error) {
	files := []string{filepath.Join(p.Dir, "go.mod"), filepath.Join(p.Dir, "go.sum")}

	switch {
	case p.c():
		return []string{filepath.Join(p.Dir, p.Package)}, nil
	case p.own():
		own, err := filepath.Glob(filepath.Join(p.Dir, p.Package, "*.go"))

		return append(files, own...), err
	default:
		return files, nil
	}
}

// Place gives the path below dir of a program that the go command builds there again when its sources changed; programs that
// are built with other tags have other places.
func (p Program) Place(arch, dir string) (string, error) {
	flavour := slices.Clone(p.Tags)
	if p.Race {
		flavour = append(flavour, "race")
	}

	place := filepath.Join(dir, arch, strings.Join(flavour, "+"))

	return filepath.Join(place, filepath.Base(p.Package)), os.MkdirAll(place, 0o755)
}

// Cached gives the built program, from dir when it was built before with the same key.
func (p Program) Cached(ctx context.Context, arch, dir string) (string, error) {
	key, err := p.Key(ctx, arch)
	if err != nil {
		return "", err
	}

	output := p.cached(arch, dir, key)
	if _, err = os.Stat(output); err == nil {
		return output, nil
	}

	if err = os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return "", err
	}

	if err = p.Build(ctx, arch, output+".new"); err != nil {
		return "", err
	}

	return output, os.Rename(output+".new", output)
}

// Built is true when Cached has nothing to build.
func (p Program) Built(ctx context.Context, arch, dir string) (bool, error) {
	key, err := p.Key(ctx, arch)
	if err != nil {
		return false, err
	}

	if _, err = os.Stat(p.cached(arch, dir, key)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}

	return err == nil, err
}

func (p Program) cached(arch, dir, key string) string {
	return filepath.Join(dir, arch, key, strings.TrimSuffix(filepath.Base(p.Package), ".c"))
}

// Version gives the version of a package's module in the go.mod of dir. It is read there, which `go list` takes a second for.
func Version(dir, pkg string) (string, error) {
	file := filepath.Join(dir, "go.mod")

	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}

	mod, err := modfile.Parse(file, data, nil)
	if err != nil {
		return "", err
	}

	for module := pkg; module != "."; module = path.Dir(module) {
		for _, r := range mod.Require {
			if r.Mod.Path == module {
				return r.Mod.Version, nil
			}
		}
	}

	return "", fmt.Errorf("%s has no module of %s", file, pkg)
}
