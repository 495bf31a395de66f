package process

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// pipes connect init to one process.
type pipes struct {
	null, output, childOutput, childNotify *os.File
	notify                                 *net.UnixConn
}

func openPipes() (*pipes, error) {
	p := &pipes{}

	var err, err1, err2 error

	p.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
	p.output, p.childOutput, err1 = os.Pipe()
	p.notify, p.childNotify, err2 = openNotify()

	if err := errors.Join(err, err1, err2); err != nil {
		p.closeChild()

		return nil, errors.Join(fmt.Errorf("open pipes: %w", err), p.closeParent())
	}

	return p, nil
}

// openNotify makes a pair of sockets that keep messages apart and carry descriptors.
func openNotify() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}

	own, child := os.NewFile(uintptr(fds[0]), "notify"), os.NewFile(uintptr(fds[1]), "notify")
	defer own.Close()

	conn, err := net.FileConn(own)
	if err != nil {
		return nil, child, err
	}

	return conn.(*net.UnixConn), child, nil //nolint:forcetypeassert // made above
}

// closeChild closes what only the process needs; its own copies keep the pipes open.
func (p *pipes) closeChild() {
	for _, f := range []*os.File{p.null, p.childOutput, p.childNotify} {
		_ = f.Close() // a nil file only gives an error
	}
}

func (p *pipes) closeParent() error {
	return errors.Join(p.output.Close(), p.notify.Close())
}
