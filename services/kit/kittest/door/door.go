// Package door makes connections to daemons' sockets from another process, of which the daemons then take them to be: one in
// another cgroup or in other namespaces. That process is Command, or a tool that runs Serve when it is asked to.
package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/services/kit/dial"
)

// Command is the package of a program that does nothing but Serve.
const Command = "github.com/dactyl-os/dactyl/services/kit/kittest/door/cmd/door"

// Door is a process that connects for others.
type Door struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	conn *net.UnixConn
}

// Open starts a command whose process runs Serve on its next free descriptor from 3 on, which is told in DOOR_FD.
func Open(cmd *exec.Cmd) (*Door, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket pair: %w", err)
	}

	ours, theirs := os.NewFile(uintptr(pair[0]), "door"), os.NewFile(uintptr(pair[1]), "door")
	defer ours.Close()
	defer theirs.Close()

	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}

	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}

	cmd.Env = append(cmd.Env, fmt.Sprint("DOOR_FD=", 3+len(cmd.ExtraFiles)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)

	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", cmd.Path, err), conn.Close())
	}

	return &Door{cmd: cmd, conn: conn.(*net.UnixConn)}, nil //nolint:forcetypeassert // of family unix
}

// Close ends the process; connections that a daemon has accepted go on.
func (d *Door) Close() error {
	err := d.conn.Close()
	_ = d.cmd.Process.Kill() // a program in other namespaces may not see the end of the pair
	_ = d.cmd.Wait()

	return err
}

// Dial connects to a unix socket, whose path is as the process sees it.
func (d *Door) Dial(_ context.Context, path string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()

	if _, err := d.conn.Write([]byte(path)); err != nil {
		return nil, err
	}

	text, oob := make([]byte, 256), make([]byte, unix.CmsgSpace(4))

	n, oobn, _, _, err := d.conn.ReadMsgUnix(text, oob)
	if err != nil {
		return nil, fmt.Errorf("the door has ended: %w", err)
	}

	fd, err := received(oob[:oobn])
	if err != nil {
		return nil, err
	}

	if fd < 0 {
		return nil, errors.New(string(text[:n]))
	}

	file := os.NewFile(uintptr(fd), path)
	defer file.Close()

	return net.FileConn(file)
}

// Conn is a client connection to a daemon's socket.
func (d *Door) Conn(socket string) (*grpc.ClientConn, error) {
	return dial.Socket(socket, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return d.Dial(ctx, socket) }))
}

// received gives the descriptor in a control message; -1 when there is none.
func received(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) == 0 {
		return -1, err
	}

	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, err
	}

	unix.CloseOnExec(fds[0])

	return fds[0], nil
}

// Serve connects to the paths that come in, until nobody asks any more.
func Serve() error {
	var fd int
	if _, err := fmt.Sscan(os.Getenv("DOOR_FD"), &fd); err != nil {
		return fmt.Errorf("read DOOR_FD: %w", err)
	}

	file := os.NewFile(uintptr(fd), "door")
	defer file.Close()

	conn, err := net.FileConn(file)
	if err != nil {
		return err
	}
	defer conn.Close()

	pair := conn.(*net.UnixConn) //nolint:forcetypeassert // what Open made

	for path := make([]byte, 256); ; {
		n, err := pair.Read(path)
		if n == 0 || errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return err
		}

		if err := hand(pair, string(path[:n])); err != nil {
			return err
		}
	}
}

// hand connects to path and sends the connection, or what went wrong.
func hand(pair *net.UnixConn, path string) error {
	text, rights := "connected", []byte(nil)

	file, err := connect(path)
	if err != nil {
		text = err.Error()
	} else {
		defer file.Close()

		rights = unix.UnixRights(int(file.Fd()))
	}

	_, _, err = pair.WriteMsgUnix([]byte(text), rights, nil)

	return err
}

func connect(path string) (*os.File, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()

	return conn.(*net.UnixConn).File() //nolint:forcetypeassert // of network unix
}
