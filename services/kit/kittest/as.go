package kittest

import (
	"os/exec"
	"testing"

	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/services/kit/kittest/door"
)

// Door makes connections that come from a process in the cgroup of name: a daemon's, or that of anything else.
func Door(t testing.TB, name string) *door.Door {
	t.Helper()
	RequireRoot(t)

	cmd := exec.Command(Build(t, door.Command))
	Into(t, cmd, name)

	return OpenDoor(t, cmd)
}

// OpenDoor starts a command that serves a door, and ends it with the test.
func OpenDoor(t testing.TB, cmd *exec.Cmd) *door.Door {
	t.Helper()

	d, err := door.Open(cmd)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { d.Close() })

	return d
}

// ConnAs is a client connection to the daemon's socket from a process in the cgroup of name.
func (d *Daemon) ConnAs(t testing.TB, name string) *grpc.ClientConn {
	t.Helper()

	return ConnThrough(t, Door(t, name), d.Socket)
}

// ConnThrough is a client connection to a socket that a door makes.
func ConnThrough(t testing.TB, d *door.Door, socket string) *grpc.ClientConn {
	t.Helper()

	conn, err := d.Conn(socket)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { conn.Close() })

	return conn
}
