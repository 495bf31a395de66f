package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/diff"
)

// hundred is a control plane machine with a hundred addresses more.
func hundred(t testing.TB) []byte {
	var b strings.Builder

	b.WriteString("    network:\n        interfaces:\n            - interface: eth0\n              addresses:\n")

	for i := range 100 {
		fmt.Fprintf(&b, "                  - 10.9.%d.1/24\n", i)
	}

	return []byte(strings.Replace(fixture(t, "controlplane.yaml"), "    network: {}\n", b.String(), 1))
}

func BenchmarkLoad(b *testing.B) {
	data := hundred(b)

	for b.Loop() {
		if _, err := config.Load(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	c, err := config.Load(hundred(b))
	if err != nil {
		b.Fatal(err)
	}

	for b.Loop() {
		if _, err := c.Validate(config.Metal, config.New); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChanges(b *testing.B) {
	before, err := config.Parse([]byte(fixture(b, "controlplane.yaml")))
	if err != nil {
		b.Fatal(err)
	}

	after, err := config.Parse(hundred(b))
	if err != nil {
		b.Fatal(err)
	}

	for b.Loop() {
		if len(diff.Changes(before, after)) == 0 {
			b.Fatal("no changes")
		}
	}
}
