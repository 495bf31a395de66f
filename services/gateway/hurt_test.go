package gateway_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type damage struct {
	file, kind string
	how        func(path string) error
}

func (h *house) choose(random *rand.Rand) (damages []damage, boot bool) {
	paths := h.files()
	for _, name := range []string{"config.staged.json", "config.try.json", "discoveryd/discovery-peers.json"} {
		paths = append(paths, filepath.Join(h.state, name))
	}

	random.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })

	paths = paths[:1+random.IntN(3)]

	// By chance alone both files of the configuration, or of the identity, would hardly ever be hurt.
	switch random.IntN(6) {
	case 0, 1:
		paths = append(slices.DeleteFunc(paths, isConfig), h.files()[:2]...)
	case 2:
		paths = h.files()[3:5]
	}

	for _, path := range paths {
		damages = append(damages, hurt(random, path))
	}

	gone := func(d damage) bool { return d.kind == "missing" && isConfig(d.file) }

	// A machine with neither of the two is a new one, and is meant to let in whoever configures it.
	if i := slices.IndexFunc(damages, gone); i >= 0 {
		for j := range damages {
			if j != i && gone(damages[j]) {
				damages[j].kind, damages[j].how = "emptied", func(path string) error { return os.WriteFile(path, nil, 0o600) }
			}
		}
	}

	return damages, random.IntN(2) == 0
}

func isConfig(path string) bool {
	return slices.Contains([]string{"config.yaml", "config.good"}, filepath.Base(path))
}

func hurt(random *rand.Rand, path string) damage {
	bits, at, size := random.Uint64()|1, random.IntN(1<<20), random.IntN(1<<20)

	rewrite := func(change func([]byte) []byte) func(string) error {
		return func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}

			return os.WriteFile(path, change(data), 0o600)
		}
	}

	kinds := []damage{
		{path, "flipped", rewrite(func(data []byte) []byte {
			for i := range min(len(data), 1+size%16) {
				data[(at+i)%len(data)] ^= byte(bits>>(i%8*8)) | 1
			}

			return data
		})},
		{path, "emptied", rewrite(func([]byte) []byte { return nil })},
		{path, "truncated", rewrite(func(data []byte) []byte { return data[:at%(len(data)+1)] })},
		{path, "longer", rewrite(func(data []byte) []byte { return append(data, "\xff\x00: ["...) })},
		{path, "zeros", rewrite(func(data []byte) []byte { return make([]byte, len(data)) })},
		{path, "missing", os.RemoveAll},
		{path, "a directory", func(path string) error {
			return errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Join(path, "full"), 0o700))
		}},
	}

	// The run directory is in memory: what is in it may be torn or of another build, but is no directory.
	if name := filepath.Base(path); name == "resources" || name == "records" || strings.HasSuffix(name, ".json") {
		kinds = kinds[:len(kinds)-1]
	}

	return kinds[random.IntN(len(kinds))]
}

func both(damages []damage, names ...string) bool {
	for _, name := range names {
		if !slices.ContainsFunc(damages, func(d damage) bool { return filepath.Base(d.file) == name }) {
			return false
		}
	}

	return true
}
