package gateway

import (
	"os"
	"runtime"

	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

// memoryLimit keeps what hostile callers leave behind from being multiplied by the kit's setting of the garbage collector.
const memoryLimit = 48 << 20

// tune sets the runtime for forwarding unless the environment does.
func tune() {
	daemon.LimitMemory(memoryLimit)

	// The daemons and clients that the gateway talks to need the other half of the machine; the kit's one processor is for
	// daemons that few call. Fewer processors mean less work for a call: frames are handed on without waking a thread.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	}
}
