package active_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/services/configd/internal/active"
	"github.com/dactyl-os/dactyl/services/configd/internal/plan"
)

// BenchmarkApply is an apply of 100 more addresses, as tools/bench makes them; half of them take the addresses away.
func BenchmarkApply(b *testing.B) {
	out, err := generate.Config(generate.Input{ClusterName: "b", Endpoint: "https://10.5.0.2:6443", Docs: true, Examples: true})
	if err != nil {
		b.Fatal(err)
	}

	addresses := "network:\n        interfaces:\n            - interface: eth0\n              addresses:\n"
	for i := range 100 {
		addresses += fmt.Sprintf("                - 10.9.%d.%d/32\n", i/250, i%250+1)
	}

	texts := [][]byte{out.Worker, []byte(strings.Replace(string(out.Worker), "network: {}", addresses, 1))}
	a, _ := boot(b, b.TempDir(), config.Container)

	for i := 0; b.Loop(); i++ {
		if _, err := a.Apply(b.Context(), active.Request{Data: texts[i%2], Mode: plan.Auto}); err != nil {
			b.Fatal(err)
		}
	}
}
