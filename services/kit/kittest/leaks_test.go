package kittest

import (
	"strings"
	"testing"
)

func TestLeftOver(t *testing.T) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	before := len(others())

	go func() {
		defer close(stopped)
		<-stop
	}()

	left := others()
	if len(left) != before+1 || !strings.Contains(strings.Join(left, "\n"), "kittest.TestLeftOver") {
		t.Errorf("left: %q", left)
	}

	close(stop)
	<-stopped

	Await(t, leakPatience, "the end of it", func() bool { return len(others()) == before })
}
