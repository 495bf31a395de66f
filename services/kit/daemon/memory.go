package daemon

import (
	"os"
	"runtime"
	"runtime/debug"
)

// gcPercent keeps a daemon's idle heap small: its live heap is a megabyte or two, and collecting it takes less than a
// millisecond.
const gcPercent = 50

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
