// Package peercred is the transport security of daemon sockets: nothing is encrypted, the kernel says who is calling.
package peercred

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"

	"github.com/dactyl-os/dactyl/services/kit/cgroup"
)

// Caller is the process that made a connection, as the kernel knows it.
type Caller struct {
	PID, UID int
	// Cgroup is its place in the cgroup v2 tree, or "" when it has ended or is of another PID namespace.
	Cgroup string
}

// Info is what a connection is known by for its whole life.
type Info struct {
	credentials.CommonAuthInfo
	Caller

	// Name is the caller's name, or "" for nobody.
	Name string
}

// AuthType names the scheme in gRPC's terms.
func (Info) AuthType() string { return "unix-peer" }

// Server asks the kernel at accept who made the connection; name gives the caller's name, or "" for nobody.
func Server(name func(Caller) string) credentials.TransportCredentials { return creds{name} }

// Client is the other side: it proves nothing, the kernel does.
func Client() credentials.TransportCredentials { return creds{} }

// Beside names the daemons that init put into groups below parent, and all that they started, by their group. What is in
// the group of root's tools and is not root's is nobody.
func Beside(parent string) func(Caller) string {
	return func(c Caller) string {
		name := cgroup.Child(parent, c.Cgroup)
		if name == cgroup.Root && c.UID != 0 {
			return ""
		}

		return name
	}
}

// SameUser takes processes of a user, and root's, for root's own tools: for a daemon run by hand.
func SameUser(uid int) func(Caller) string {
	return func(c Caller) string {
		if c.UID == uid || c.UID == 0 {
			return cgroup.Root
		}

		return ""
	}
}

type creds struct{ name func(Caller) string }

func (c creds) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix-peer"}
}

func (c creds) Clone() credentials.TransportCredentials { return c }

func (c creds) OverrideServerName(string) error { return nil }

func (c creds) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, Info{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

func (c creds) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	caller, err := callerOf(conn)
	if err != nil {
		return nil, nil, fmt.Errorf("read peer credentials: %w", err)
	}

	return conn, Info{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		Caller:         caller,
		Name:           c.name(caller),
	}, nil
}

func callerOf(conn net.Conn) (Caller, error) {
	sock, ok := conn.(*net.UnixConn)
	if !ok {
		return Caller{}, fmt.Errorf("%T is not a unix socket", conn)
	}

	raw, err := sock.SyscallConn()
	if err != nil {
		return Caller{}, err
	}

	var caller Caller

	controlErr := raw.Control(func(fd uintptr) {
		var ucred *unix.Ucred
		if ucred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			caller = Caller{PID: int(ucred.Pid), UID: int(ucred.Uid), Cgroup: cgroupOf(int(fd), int(ucred.Pid))}
		}
	})

	return caller, errors.Join(err, controlErr)
}

// cgroupOf gives the place of the process that made the connection. It still runs after its PID was used, so the PID was
// its own all the time.
func cgroupOf(socket, pid int) string {
	process, err := processOf(socket, pid)
	if err != nil {
		return ""
	}
	defer unix.Close(process)

	name, err := inProc(process)
	if err != nil {
		return ""
	}

	place, err := cgroup.Of(name)
	if err != nil || ended(process) {
		return ""
	}

	return place
}

// inProc gives the name of a process in /proc, which may be mounted in another PID namespace than this process is in. An
// ended process and one that /proc does not show have none there: "-1" and "0".
func inProc(process int) (string, error) {
	path := fmt.Sprintf("/proc/self/fdinfo/%d", process)

	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}

	for line := range strings.Lines(string(data)) {
		if pid, found := strings.CutPrefix(line, "Pid:"); found {
			return strings.TrimSpace(pid), nil
		}
	}

	return "", fmt.Errorf("%s names no process", path)
}

// processOf opens the process that made the connection. Kernels before 6.5 do not keep it: there it is the one that has
// the PID now.
func processOf(socket, pid int) (int, error) {
	process, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return unix.PidfdOpen(pid, 0)
	}

	return process, err
}

func ended(process int) bool {
	poll := []unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}

	for {
		n, err := unix.Poll(poll, 0)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || n > 0
		}
	}
}
