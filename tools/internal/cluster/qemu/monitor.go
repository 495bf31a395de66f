package qemu

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
)

// Monitor is a socket where a line with q resets the machine, as power taken away and given back. QEMU's own monitor
// answers to every other line. Unlike QEMU's, it is there between two boots as well.
type Monitor struct {
	listener net.Listener
	resets   chan struct{}

	mu      sync.Mutex
	machine *Process
}

// Listen makes the socket; one that a supervisor before left behind is replaced.
func Listen(path string) (*Monitor, error) {
	info, err := os.Lstat(path)

	switch {
	case err == nil && info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is in the way: it is no socket", path)
	case err == nil:
		err = os.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}

	if err != nil {
		return nil, fmt.Errorf("make monitor: %w", err)
	}

	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("make monitor: %w", err)
	}

	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("make monitor: %w", err), listener.Close())
	}

	m := &Monitor{listener: listener, resets: make(chan struct{}, 1)}

	go m.serve()

	return m, nil
}

// Resets gives one value for each reset that is asked for.
func (m *Monitor) Resets() <-chan struct{} { return m.resets }

// Attach says which machine answers from now on.
func (m *Monitor) Attach(p *Process) {
	m.mu.Lock()
	defer m.mu.Unlock()

	m.machine = p
}

func (m *Monitor) attached() *Process {
	m.mu.Lock()
	defer m.mu.Unlock()

	return m.machine
}

// Close removes the socket.
func (m *Monitor) Close() error { return m.listener.Close() }

func (m *Monitor) serve() {
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			return
		}

		go m.answer(conn)
	}
}

func (m *Monitor) answer(conn net.Conn) {
	defer conn.Close() // nobody waits for it

	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch line := strings.TrimSpace(lines.Text()); line {
		case "q", "quit":
			select {
			case m.resets <- struct{}{}:
			default: // asked for already
			}
		case "":
		default:
			fmt.Fprint(conn, m.command(line))
		}
	}
}

func (m *Monitor) command(line string) string {
	machine := m.attached()
	if machine == nil {
		return "Error: the machine is off\n"
	}

	text, err := machine.Command(line)
	if err != nil {
		return "Error: " + err.Error() + "\n"
	}

	return text
}
