package process

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/dactyl-os/dactyl/services/init/internal/logring"
)

// Why a Go program ended is before its stacks, not at the end of its log.
func TestLastWordsOfAPanic(t *testing.T) {
	log, err := logring.Open(t.TempDir(), "etcdd", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()

	write := func(lines ...string) {
		for _, line := range lines {
			fmt.Fprintln(log, line)
		}
	}

	write("panic: of the run before", "", "panic: freepages: failed to get all reachable pages", "")

	for i := range 100 {
		write(fmt.Sprintf("goroutine %d", i))
	}

	for _, tc := range []struct {
		name   string
		status syscall.WaitStatus
		want   []string
	}{
		{"panic", 2 << 8, []string{"panic: freepages: failed to get all reachable pages", "", "goroutine 0", "goroutine 1", "goroutine 2"}},
		{"another end", 1 << 8, []string{"goroutine 95", "goroutine 96", "goroutine 97", "goroutine 98", "goroutine 99"}},
		{"a signal", syscall.WaitStatus(syscall.SIGKILL), []string{"goroutine 95", "goroutine 96", "goroutine 97", "goroutine 98", "goroutine 99"}},
	} {
		if got := lastWords(log, tc.status); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
