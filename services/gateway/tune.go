package gateway

import (
	"os"
	"runtime"
	"runtime/debug"
)

// gcPercent lets eight megabytes of frames pass between collections: at the kit's setting for idle daemons they took a
// fifth of a busy gateway's time.
const gcPercent = 200

// tune sets the runtime for forwarding unless the environment does.
func tune() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}

	// The daemons and clients that the gateway talks to need the other half. On two processors this takes a quarter off the
	// cost of a call: goroutines hand frames to each other without waking another thread.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/2))
	}
}
