package redact_test

import (
	"os"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config/redact"
)

func BenchmarkBytes(b *testing.B) {
	data, err := os.ReadFile("../testdata/controlplane.yaml")
	if err != nil {
		b.Fatal(err)
	}

	for b.Loop() {
		if _, err := redact.Bytes(data); err != nil {
			b.Fatal(err)
		}
	}
}
