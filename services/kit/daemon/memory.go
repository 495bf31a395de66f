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

// gcPercent lets a burst allocate 16 MB before its garbage is collected: with a live heap of a megabyte or two, collecting it at
// the runtime's usual pace took a quarter of a busy daemon's time. trimMemory gives back what a burst leaves behind.
const gcPercent = 400

// tuneProcess fits the runtime to a small daemon unless the environment says otherwise. One processor at a time is
// measured to answer calls with a quarter to a third less work, because nothing has to be woken on another core, and
// to hold less memory; daemons that compute set GOMAXPROCS in their manifest.
func tuneProcess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}

	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// LimitMemory has the runtime collect garbage sooner when the process comes near so many bytes, whatever lets bursts grow
// otherwise; the environment (the manifest's memory:) may say less.
func LimitMemory(bytes int64) {
	const ask = -1

	debug.SetMemoryLimit(min(bytes, debug.SetMemoryLimit(ask)))
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

		metrics.Read(samples)

		// Most of what was allocated since the last time is garbage, whether collected yet or not.
		allocated := samples[1].Value.Uint64()
		if samples[0].Value.Uint64()+allocated-last >= trimFrom {
			_ = footprint.Release() // an economy: without it the daemon is only larger
		}

		last = allocated
	}
}
