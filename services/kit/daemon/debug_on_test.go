//go:build debug

package daemon

import (
	"io"
	"testing"
)

func TestPprofPortsAreThoseOfGuide06(t *testing.T) {
	for name, want := range map[string]string{"gateway": ":9981", "init": ":9982", "trustd": ":9983", "timed": ":9992", "mine": ""} {
		if s, err := parseFlags(name, nil, io.Discard); err != nil || s.pprof != want {
			t.Errorf("%s: pprof on %q, %v, want %q", name, s.pprof, err, want)
		}
	}
}
