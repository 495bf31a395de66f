package kittest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// leakPatience is how long goroutines may take to end after the last test.
const leakPatience = 5 * time.Second

// NoLeaks is the TestMain of packages whose tests run servers and loops in their own process: when the tests are over, none of
// what they started may be left. It gives the exit code.
func NoLeaks(m *testing.M) int {
	code := m.Run()

	if left := leftOver(leakPatience); code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "kittest: %d goroutines are left after the tests:\n\n%s\n", len(left), strings.Join(left, "\n\n"))

		code = 1
	}

	return code
}

// leftOver gives the stacks of the goroutines that do not end within the time.
func leftOver(patience time.Duration) []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(pollInterval) {
		left := others()
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// others are the stacks of all goroutines but this one and those that belong to the process.
func others() []string {
	text := make([]byte, 1<<20)
	for n := runtime.Stack(text, true); ; n = runtime.Stack(text, true) {
		if n < len(text) {
			text = text[:n]

			break
		}

		text = make([]byte, 2*len(text))
	}

	var left []string

	for i, stack := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		if i > 0 && !belongs(stack) {
			left = append(left, stack)
		}
	}

	return left
}

// belongs tells whether a goroutine lives as long as the process by its nature.
func belongs(stack string) bool {
	for _, function := range []string{"os/signal.signal_recv", "os/signal.loop", "runtime.ensureSigM"} {
		if strings.Contains(stack, function) {
			return true
		}
	}

	return false
}
