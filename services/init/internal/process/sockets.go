package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// Group is the group of every daemon: who is not in it cannot even connect to a socket.
const Group = 50

// listener is an open socket that a daemon is given at each start.
type listener struct {
	name string
	file *os.File
}

// openSockets makes the daemon's unix socket and the listeners of its manifest, as far as they are not open. They stay open
// until init ends, so that callers wait while the daemon is away.
func (d *daemon) openSockets(runDir string, m manifest.Manifest) error {
	if m.NoSocket {
		d.closeSockets()

		return removeSocket(filepath.Join(runDir, m.Name+".sock"))
	}

	if len(d.sockets) > 0 {
		return nil
	}

	unix, err := openUnix(filepath.Join(runDir, m.Name+".sock"))
	if err != nil {
		return err
	}

	d.sockets = []listener{{name: m.Name, file: unix}}

	for _, name := range m.Listen {
		file, err := openPort(name)
		if err != nil {
			d.closeSockets()

			return fmt.Errorf("listen for %s: %w", m.Name, err)
		}

		d.sockets = append(d.sockets, listener{name: name, file: file})
	}

	return nil
}

func (d *daemon) closeSockets() {
	for _, s := range d.sockets {
		_ = s.file.Close()
	}

	d.sockets = nil
}

func openPort(name string) (*os.File, error) {
	port, err := manifest.Port(name)
	if err != nil {
		return nil, err
	}

	l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}

	file, err := l.(*net.TCPListener).File()

	return file, errors.Join(err, l.Close())
}

// openUnix listens at a temporary name and moves the socket into place once its owner and mode are right.
func openUnix(path string) (*os.File, error) {
	for _, old := range []string{path, path + ".new"} {
		if err := removeSocket(old); err != nil {
			return nil, err
		}
	}

	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + ".new", Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}

	l.SetUnlinkOnClose(false)

	file, err := l.File()
	if err := errors.Join(err, l.Close(), OpenToDaemons(path+".new"), os.Rename(path+".new", path)); err != nil {
		return nil, fmt.Errorf("place socket: %w", err)
	}

	return file, nil
}

// OpenToDaemons lets the daemons' group connect to a socket, and nobody else.
func OpenToDaemons(path string) error {
	if os.Getuid() == 0 {
		if err := os.Chown(path, 0, Group); err != nil {
			return err
		}
	}

	return os.Chmod(path, 0o660)
}

// removeSocket removes what a predecessor left; anything that is not a socket is somebody else's.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}

	if err != nil {
		return fmt.Errorf("look at socket: %w", err)
	}

	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is in the way: it is not a socket", path)
	}

	return os.Remove(path)
}
