package daemon

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/internal/footprint"
)

// gcPercent keeps a daemon's idle heap small: its live heap is a megabyte or two, and collecting it takes less than a
// millisecond. A start allocates some megabytes that are garbage at its end: they are collected then, in one go.
const (
	gcPercent      = 50
	gcPercentStart = 400
)

// tuneProcess fits the runtime to a small daemon unless the environment says otherwise. One processor at a time is
// measured to answer calls with a quarter to a third less work, because nothing has to be woken on another core, and
// to hold less memory; daemons that compute set GOMAXPROCS in their manifest.
func tuneProcess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercentStart)
	}

	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// A daemon works in bursts: at its start, and when somebody looks. What a burst leaves behind goes back to the kernel
// soon, not when the runtime's next regular collection comes; so does the program text that only the burst ran.
// While a machine boots, others need the processor.
const (
	trimFirst = 15 * time.Second
	trimEvery = 30 * time.Second
	trimFrom  = 1 << 20
)

// trimMemory runs as long as the process.
func trimMemory(ctx context.Context) {
	timer := time.NewTimer(trimFirst)
	defer timer.Stop()

	samples := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/gc/heap/allocs:bytes"}}

	for last := uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(trimEvery)
		}

		// The start is over.
		if last == 0 && os.Getenv("GOGC") == "" {
			debug.SetGCPercent(gcPercent)
		}

		metrics.Read(samples)

		// Most of what was allocated since the last time is garbage, whether collected yet or not.
		allocated := samples[1].Value.Uint64()
		if samples[0].Value.Uint64()+allocated-last >= trimFrom {
			_ = footprint.Release() //nolint:errcheck // an economy: without it the daemon is only larger
		}

		last = allocated
	}
}
