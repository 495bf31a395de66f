package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/dactyl-os/dactyl/rootfs/internal/programs"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// multicall is the program that every linked daemon's name points to.
const multicall = "dactyl"

// addDaemons adds our own programs and what init starts.
func (b *builder) addDaemons(ctx context.Context, t *tree.Tree) error {
	t.Part(partDaemons)

	program, err := b.own(ctx, "./services/"+multicall, b.race)
	if err != nil {
		return err
	}

	t.File("/usr/bin/"+multicall, program, 0o755)

	for _, name := range b.linked {
		t.Link("/usr/bin/"+name, multicall)
	}

	for _, name := range b.alone {
		if program, err = b.own(ctx, "./services/"+name+"/cmd/"+name, b.race); err != nil {
			return err
		}

		t.File("/usr/bin/"+name, program, 0o755)
	}

	for name, file := range b.swap {
		b.log("%s is %s", name, file)
		t.File("/usr/bin/"+name, file, 0o755)
	}

	return b.addManifests(t)
}

func (b *builder) addManifests(t *tree.Tree) error {
	files, err := filepath.Glob(filepath.Join(b.repository, "deploy/services/*.yaml"))
	if err != nil {
		return err
	}

	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}

		if b.race {
			data = unlimited(data)
		}

		t.Data("/usr/share/dactyl/services/"+filepath.Base(file), data, 0o644)
	}

	return nil
}

// unlimited takes the limit of memory out of a manifest: the race detector needs five to ten times as much.
func unlimited(manifest []byte) []byte {
	var kept []byte

	for line := range bytes.Lines(manifest) {
		if !bytes.HasPrefix(line, []byte("memory:")) {
			kept = append(kept, line...)
		}
	}

	return kept
}

// own builds a program of this repository. Those of rootfs/ have its go.mod, the daemons the workspace's versions.
func (b *builder) own(ctx context.Context, pkg string, race bool) (string, error) {
	p := programs.Program{Package: pkg, Dir: b.repository, Workspace: true, LDFlags: b.ldflags, Race: race}

	if b.tags != "" {
		p.Tags = strings.Split(b.tags, ",")
	}

	if race {
		p.Tags = append(p.Tags, "netgo", "osusergo") // cgo is there for the detector only
	}

	if rest, ok := strings.CutPrefix(pkg, "./rootfs/"); ok {
		p = programs.Program{Package: "./" + rest, Dir: filepath.Join(b.repository, "rootfs")}
	}

	output, err := p.Place(b.arch, filepath.Join(b.cache, "own"))
	if err != nil {
		return "", err
	}

	return output, p.Build(ctx, b.arch, output)
}
