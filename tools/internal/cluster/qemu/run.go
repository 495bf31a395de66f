package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
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

	mu      sync.Mutex
	end     End
	asked   int
	answers map[int]chan message
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

	p := &Process{cmd: cmd, input: input, done: make(chan struct{}), end: PowerCut, answers: map[int]chan message{}}

	go func() {
		p.listen(output)

		_ = cmd.Wait() // the reason came by the control protocol

		close(p.done)
	}()

	if err := p.send(request{Execute: "qmp_capabilities"}); err != nil {
		p.Kill()

		return nil, err
	}

	return p, nil
}

// request and message are what matters of QEMU's machine protocol, docs/interop/qmp-spec of QEMU.
type request struct {
	Execute   string         `json:"execute"`
	Arguments map[string]any `json:"arguments,omitempty"`
	ID        int            `json:"id,omitempty"`
}

type message struct {
	Event string `json:"event"`
	Data  struct {
		Reason string `json:"reason"`
	} `json:"data"`
	ID     int             `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Text string `json:"desc"`
	} `json:"error"`
}

func (p *Process) listen(output io.Reader) {
	for decoder := json.NewDecoder(output); ; {
		var m message
		if err := decoder.Decode(&m); err != nil {
			return
		}

		p.mu.Lock()

		switch {
		case p.answers[m.ID] != nil:
			p.answers[m.ID] <- m
			delete(p.answers, m.ID)
		case m.Event != "SHUTDOWN":
		case m.Data.Reason == "guest-reset" || m.Data.Reason == "subsystem-reset":
			p.end = Reset
		case m.Data.Reason == "guest-shutdown" || m.Data.Reason == "host-qmp-quit":
			p.end = Shutdown
		}

		p.mu.Unlock()
	}
}

func (p *Process) send(r request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode %s: %w", r.Execute, err)
	}

	if _, err := p.input.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("tell QEMU %s: %w", r.Execute, err)
	}

	return nil
}

// Command has QEMU's own monitor (HMP) do a line and gives what it prints.
func (p *Process) Command(line string) (string, error) {
	answer := make(chan message, 1)

	p.mu.Lock()
	p.asked++
	id := p.asked
	p.answers[id] = answer
	p.mu.Unlock()

	if err := p.send(request{Execute: "human-monitor-command", Arguments: map[string]any{"command-line": line}, ID: id}); err != nil {
		return "", err
	}

	select {
	case <-p.done:
		return "", errors.New("the machine ended")
	case m := <-answer:
		if m.Error != nil {
			return "", errors.New(m.Error.Text)
		}

		var text string
		if err := json.Unmarshal(m.Return, &text); err != nil {
			return "", fmt.Errorf("read what QEMU says: %w", err)
		}

		return strings.ReplaceAll(text, "\r\n", "\n"), nil
	}
}

// PID is QEMU's process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// PressPower presses the power button: the guest decides what follows.
func (p *Process) PressPower() error { return p.send(request{Execute: "system_powerdown"}) }

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
