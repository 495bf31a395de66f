package node

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
)

// Exit codes that tell whoever runs init in place of hardware what is asked for.
const (
	ExitPowerOff = 0
	ExitReboot   = 64
)

// Sequences are the ways down, by the names that clients know.
const (
	Shutdown = "shutdown"
	Reboot   = "reboot"
	Reset    = "reset"
	Upgrade  = "upgrade"
)

// What clients wait for to know that a node goes down.
const (
	stopPhase = "stopEverything"
	stopTask  = "stopAllServices"
)

// farewell is how long who follows the events may take to hear that the node goes down.
const farewell = time.Second

// sequences say what the node is while it is on a way down.
var sequences = map[string]struct {
	doing string
	stage enums.MachineStage
}{
	Shutdown: {"shutting down", enums.MachineStageShuttingDown},
	Reboot:   {"rebooting", enums.MachineStageRebooting},
	Reset:    {"resetting", enums.MachineStageResetting},
	Upgrade:  {"upgrading", enums.MachineStageUpgrading},
}

// Power is a way down. It is the error with which a node's Run ends.
type Power struct {
	// Actor is the id under which its events can be followed; GoDown gives it.
	Actor string
	// Reason says who wanted it, for the boot after.
	Reason string
	// Sequence is the way's name; when left out, it is Reboot or Shutdown.
	Sequence string
	Reboot   bool
}

func (p *Power) Error() string {
	if p.Reboot {
		return "reboot"
	}

	return "power off"
}

// ExitCode of init's process.
func (p *Power) ExitCode() int {
	if p.Reboot {
		return ExitReboot
	}

	return ExitPowerOff
}

// Doing is what the node does meanwhile.
func (p *Power) Doing() string { return sequences[p.Sequence].doing }

func (p *Power) command() int64 {
	if p.Reboot {
		return unix.LINUX_REBOOT_CMD_RESTART
	}

	return unix.LINUX_REBOOT_CMD_POWER_OFF
}

// Refusals of GoDown.
var (
	ErrGoingDown       = errors.New("the node is going down already")
	ErrUnknownSequence = errors.New("a node goes down to shutdown, reboot, reset or upgrade")
)

// GoDown asks for a way down and gives its actor id.
func (n *Node) GoDown(power Power) (string, error) {
	power.Actor = uuid.NewString()

	switch {
	case power.Sequence != "":
	case power.Reboot:
		power.Sequence = Reboot
	default:
		power.Sequence = Shutdown
	}

	if _, known := sequences[power.Sequence]; !known {
		return "", ErrUnknownSequence
	}

	select {
	case n.power <- power:
		return power.Actor, nil
	default:
		return "", ErrGoingDown
	}
}

// goDown tells everybody. Streams of events that leave the node end with the news, before what carries them is stopped.
func (n *Node) goDown(ctx context.Context, power Power) {
	n.mu.Lock()
	n.down = &power
	close(n.goingDown)
	n.mu.Unlock()

	n.log.Info("going down", "sequence", power.Sequence, "actor", power.Actor, "reason", power.Reason)
	n.publish(power.Actor, &machine.SequenceEvent{Sequence: power.Sequence, Action: machine.SequenceEvent_START})
	n.touch()

	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()

	select {
	case <-n.staged:
	case <-ctx.Done():
	}

	n.publish(power.Actor, &machine.PhaseEvent{Phase: stopPhase, Action: machine.PhaseEvent_START})
	n.publish(power.Actor, &machine.TaskEvent{Task: stopTask, Action: machine.TaskEvent_START})

	if left := n.Events.Seal(ctx); left > 0 {
		n.log.Warn("not all who follow the events heard that the node goes down", "streams", left)
	}
}

// gone tells that all services have been stopped.
func (n *Node) gone(power *Power) {
	n.publish(power.Actor, &machine.TaskEvent{Task: stopTask, Action: machine.TaskEvent_STOP})
	n.publish(power.Actor, &machine.PhaseEvent{Phase: stopPhase, Action: machine.PhaseEvent_STOP})
	n.publish(power.Actor, &machine.SequenceEvent{Sequence: power.Sequence, Action: machine.SequenceEvent_STOP})
	n.publish(power.Actor, &machine.RestartEvent{Cmd: power.command()})
}

// GoingDown is closed when the way down begins.
func (n *Node) GoingDown() <-chan struct{} { return n.goingDown }

// Asked is the way down that the node is on; nil before.
func (n *Node) Asked() *Power {
	n.mu.Lock()
	defer n.mu.Unlock()

	return n.down
}
