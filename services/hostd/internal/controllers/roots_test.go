package controllers

import (
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
)

// TestMergedRoots goes through a bundle's life: what is merged is what the next step finds.
func TestMergedRoots(t *testing.T) {
	image := "image's own\n"
	with := func(names ...string) *config.Config {
		c := &config.Config{}
		for _, name := range names {
			c.Documents = append(c.Documents, &config.TrustedRootsConfig{Name: name, Certificates: "certificate " + name + "\n"})
		}

		return c
	}

	have := image

	for _, step := range []struct {
		parsed *config.Config
		want   string
	}{
		{nil, image},
		{with("a"), image + rootsBegin + "\n# a\ncertificate a\n"},
		{with("a"), image + rootsBegin + "\n# a\ncertificate a\n"},
		{with("b\n# c", "d"), image + rootsBegin + "\n# b # c\ncertificate b\n# c\n\n# d\ncertificate d\n"},
		{with(), image},
	} {
		if have = string(merged([]byte(have), step.parsed)); have != step.want {
			t.Errorf("the bundle is %q, want %q", have, step.want)
		}
	}
}
