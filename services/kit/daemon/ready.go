package daemon

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/version"
)

// notifier is how a daemon tells init something, and what it has left there before. Without init there is nobody to tell.
type notifier struct {
	fd   int
	mu   sync.Mutex
	kept map[string]*os.File
}

// inheritNotifier takes over NOTIFY_FD and KEPT_FDS ("watchdog=7:dhcp-eth0=8"). The variables are removed so that children
// do not believe in them.
func inheritNotifier() (*notifier, error) {
	value, kept := os.Getenv("NOTIFY_FD"), os.Getenv("KEPT_FDS")
	os.Unsetenv("NOTIFY_FD")
	os.Unsetenv("KEPT_FDS")

	n := &notifier{fd: -1, kept: map[string]*os.File{}}

	if value == "" {
		return n, nil
	}

	fd, err := strconv.Atoi(value)
	if err != nil || fd < firstInherited {
		return nil, fmt.Errorf("parse NOTIFY_FD %q", value)
	}

	syscall.CloseOnExec(fd)
	n.fd = fd

	for word := range strings.SplitSeq(kept, ":") {
		name, number, found := strings.Cut(word, "=")
		if fd, err := strconv.Atoi(number); found && err == nil && fd > n.fd {
			syscall.CloseOnExec(fd)
			n.kept[name] = os.NewFile(uintptr(fd), name)
		}
	}

	return n, nil
}

// ready tells which version serves.
func (n *notifier) ready() error {
	return n.tell(fmt.Sprintf("VERSION=%s %s\nREADY=1\n", version.Tag, version.SHA), nil)
}

// tell sends lines, with a descriptor if rights are given.
func (n *notifier) tell(lines string, rights []byte) error {
	if n.fd < 0 {
		return nil
	}

	var err error

	if rights == nil {
		_, err = unix.Write(n.fd, []byte(lines))
	} else {
		err = unix.Sendmsg(n.fd, []byte(lines), rights, nil, unix.MSG_NOSIGNAL)
	}

	if err != nil {
		return fmt.Errorf("tell init: %w", err)
	}

	return nil
}

// Kept gives a descriptor that an earlier process of this daemon has left with init by KeepFD; false when there is none, or
// it was asked for before. init keeps its own copy: the file may be closed.
func (e *Env) Kept(name string) (*os.File, bool) {
	e.notify.mu.Lock()
	defer e.notify.mu.Unlock()

	file, had := e.notify.kept[name]
	delete(e.notify.kept, name)

	return file, had
}

// KeepFD leaves a copy of a descriptor (of an *os.File or a connection) with init, under a name that the manifest's keep:
// covers. It stays open when the daemon dies, and the next process gets it by Kept; another one of the name replaces it. A
// daemon that runs without init keeps nothing.
func (e *Env) KeepFD(name string, file syscall.Conn) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}

	// Control leaves the descriptor's mode, which all copies share, as it is.
	var sent error
	if err := errors.Join(raw.Control(func(fd uintptr) {
		sent = e.notify.tell("KEEP="+name+"\n", unix.UnixRights(int(fd)))
	}), sent); err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}

	return nil
}

// DropFD has init close its copy of a descriptor.
func (e *Env) DropFD(name string) error {
	if file, had := e.Kept(name); had {
		_ = file.Close()
	}

	if err := e.notify.tell("DROP="+name+"\n", nil); err != nil {
		return fmt.Errorf("drop %s: %w", name, err)
	}

	return nil
}
