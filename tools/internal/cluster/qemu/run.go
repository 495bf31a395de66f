package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
)

// End is why a virtual machine stopped.
type End string

// Ends. QEMU that was killed or crashed is a power cut.
const (
	Reset    End = "reset"
	Shutdown End = "shutdown"
	PowerCut End = "power cut"
)

// Process is a running QEMU.
type Process struct {
	cmd   *exec.Cmd
	input io.WriteCloser
	done  chan struct{}

	mu  sync.Mutex
	end End
}

// Start runs QEMU. It dies with the thread that started it; errors of its own go to messages.
func (v VM) Start(messages io.Writer) (*Process, error) {
	program, err := Program(v.Arch)
	if err != nil {
		return nil, err
	}

	cmd := exec.CommandContext(context.Background(), program, v.Args()...)
	cmd.Dir, cmd.Stderr = "/", messages
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}

	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("open control: %w", err)
	}

	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open control: %w", err)
	}

	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}

	p := &Process{cmd: cmd, input: input, done: make(chan struct{}), end: PowerCut}

	go func() {
		p.listen(output)

		_ = cmd.Wait() // the reason came by the control protocol

		close(p.done)
	}()

	if err := p.say("qmp_capabilities"); err != nil {
		p.Kill()

		return nil, err
	}

	return p, nil
}

// event is what matters of QEMU's machine protocol, docs/interop/qmp-spec of QEMU.
type event struct {
	Event string `json:"event"`
	Data  struct {
		Reason string `json:"reason"`
	} `json:"data"`
}

func (p *Process) listen(output io.Reader) {
	for decoder := json.NewDecoder(output); ; {
		var e event
		if err := decoder.Decode(&e); err != nil {
			return
		}

		if e.Event != "SHUTDOWN" {
			continue
		}

		p.mu.Lock()

		switch e.Data.Reason {
		case "guest-reset", "subsystem-reset":
			p.end = Reset
		case "guest-shutdown", "host-qmp-quit":
			p.end = Shutdown
		}

		p.mu.Unlock()
	}
}

func (p *Process) say(command string) error {
	if _, err := fmt.Fprintf(p.input, `{"execute": %q}`+"\n", command); err != nil {
		return fmt.Errorf("tell QEMU %s: %w", command, err)
	}

	return nil
}

// PID is QEMU's process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// PressPower presses the power button: the guest decides what follows.
func (p *Process) PressPower() error { return p.say("system_powerdown") }

// Kill is a power cut.
func (p *Process) Kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, syscall.ESRCH) {
		return // it is over already
	}
}

// Done closes when QEMU has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// End tells why, once Done.
func (p *Process) End() End {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.end
}
