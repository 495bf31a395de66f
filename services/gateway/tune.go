package gateway

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

// gcPercent lets eight megabytes of frames pass between collections: at the kit's setting for idle daemons they took a
// fifth of a busy gateway's time.
const gcPercent = 200

// memoryLimit keeps what hostile callers leave behind from being multiplied by gcPercent.
const memoryLimit = 48 << 20

// tune sets the runtime for forwarding unless the environment does.
func tune() {
	daemon.LimitMemory(memoryLimit)

	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}

	// The daemons and clients that the gateway talks to need the other half of the machine; the kit's one processor is for
	// daemons that few call. Fewer processors mean less work for a call: frames are handed on without waking a thread.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	}
}
