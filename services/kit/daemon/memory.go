package daemon

import (
	"os"
	"runtime/debug"
)

// gcPercent keeps a daemon's idle heap small: its live heap is a megabyte or two, and collecting it takes less than a
// millisecond.
const gcPercent = 50

// tuneMemory sets the collector unless the environment does.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
