package node

import (
	"fmt"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/proto/machine"
)

// Exit codes that tell whoever runs init in place of hardware what is asked for.
const (
	ExitPowerOff = 0
	ExitReboot   = 64
)

// Power is a way down. It is the error with which a node's Run ends.
type Power struct {
	Actor string
	// Reason says who wanted it, for the boot after.
	Reason string
	Reboot bool
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

func (p *Power) sequence() string {
	if p.Reboot {
		return "reboot"
	}

	return "shutdown"
}

func (p *Power) command() int64 {
	if p.Reboot {
		return unix.LINUX_REBOOT_CMD_RESTART
	}

	return unix.LINUX_REBOOT_CMD_POWER_OFF
}

// GoDown asks for a way down and gives the actor id under which its events can be followed.
func (n *Node) GoDown(reboot bool) (string, error) { return n.GoDownFor("", reboot) }

// GoDownFor is GoDown with a reason.
func (n *Node) GoDownFor(reason string, reboot bool) (string, error) {
	power := Power{Reboot: reboot, Actor: uuid.NewString(), Reason: reason}

	select {
	case n.power <- power:
		return power.Actor, nil
	default:
		return "", fmt.Errorf("the node is going down already")
	}
}

func (n *Node) goDown(power Power) {
	n.mu.Lock()
	n.down = &power
	close(n.goingDown)
	n.mu.Unlock()

	n.log.Info("going down", "sequence", power.sequence(), "actor", power.Actor, "reason", power.Reason)
	n.publish(power.Actor, &machine.SequenceEvent{Sequence: power.sequence(), Action: machine.SequenceEvent_START})
	n.publish(power.Actor, &machine.PhaseEvent{Phase: "stopServices", Action: machine.PhaseEvent_START})
	n.touch()
}

// GoingDown is closed when the way down begins.
func (n *Node) GoingDown() <-chan struct{} { return n.goingDown }

// Asked is the way down that the node is on; nil before.
func (n *Node) Asked() *Power {
	n.mu.Lock()
	defer n.mu.Unlock()

	return n.down
}
