package supervise

import (
	"syscall"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// Effect is something that the core asks for: one of the types of this file.
type Effect interface{ effect() }

// Open asks for a unit's log and sockets, before its first start.
type Open struct {
	Spec manifest.Manifest
}

// Launch asks for a new process. Run tells runs of one service apart.
type Launch struct {
	Spec manifest.Manifest
	Run  int
}

// Withdraw asks to take a service's socket from callers, who otherwise wait for a daemon that does not come.
type Withdraw struct {
	Service string
}

// MarkStopped asks to tell callers that a service does not start by itself. Its socket stays: who reads its resources goes
// on waiting, as if it restarted.
type MarkStopped struct {
	Service string
}

// Drop asks to give up all that is kept of a unit that is no more: sockets, log, descriptors.
type Drop struct {
	Service string
}

// Signal asks for a signal to a service's process, or to all that its manifest says ends with it.
type Signal struct {
	Service string
	Run     int
	Signal  syscall.Signal
	Group   bool
}

func (Open) effect()        {}
func (Launch) effect()      {}
func (Withdraw) effect()    {}
func (MarkStopped) effect() {}
func (Drop) effect()        {}
func (Signal) effect()      {}
