//go:build debug

package daemon

import (
	"flag"
	"testing"
)

func TestPprofPortsAreThoseOfGuide06(t *testing.T) {
	for name, want := range map[string]string{"gateway": ":9981", "init": ":9982", "trustd": ":9983", "timed": ":9992", "mine": ""} {
		flags := flag.NewFlagSet(name, flag.ContinueOnError)
		addDebugFlags(flags)

		if got := flags.Lookup("pprof").DefValue; got != want {
			t.Errorf("%s: pprof on %q, want %q", name, got, want)
		}
	}
}
