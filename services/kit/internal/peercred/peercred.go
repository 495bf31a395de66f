// Package peercred is the transport security of daemon sockets: nothing is encrypted, the kernel says who is calling.
package peercred

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// Info is what a connection is known by for its whole life.
type Info struct {
	credentials.CommonAuthInfo

	// Name is the daemon that init registered under the pid, or "".
	Name string
	PID  int
	UID  int
}

// AuthType names the scheme in gRPC's terms.
func (Info) AuthType() string { return "unix-peer" }

// Trusted tells whether the process may talk to a daemon at all: root and init's children.
func (i Info) Trusted() bool { return i.UID == 0 || i.Name != "" }

// Server takes the peer's credentials at accept and looks its pid up in pidDir, where init keeps one file a daemon.
func Server(pidDir string) credentials.TransportCredentials { return creds{pidDir: pidDir} }

// Client is the other side: it proves nothing, the kernel does.
func Client() credentials.TransportCredentials { return creds{} }

type creds struct{ pidDir string }

func (c creds) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix-peer"}
}

func (c creds) Clone() credentials.TransportCredentials { return c }

func (c creds) OverrideServerName(string) error { return nil }

func (c creds) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, Info{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

func (c creds) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	ucred, err := peerOf(conn)
	if err != nil {
		return nil, nil, fmt.Errorf("read peer credentials: %w", err)
	}

	return conn, Info{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		Name:           nameOf(c.pidDir, int(ucred.Pid)),
		PID:            int(ucred.Pid),
		UID:            int(ucred.Uid),
	}, nil
}

func peerOf(conn net.Conn) (*unix.Ucred, error) {
	sock, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("%T is not a unix socket", conn)
	}

	raw, err := sock.SyscallConn()
	if err != nil {
		return nil, err
	}

	var (
		ucred  *unix.Ucred
		optErr error
	)

	if err := raw.Control(func(fd uintptr) {
		ucred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}

	return ucred, optErr
}

// nameOf finds the daemon whose pid file holds pid. Connections are few and live long, so nothing is cached.
func nameOf(pidDir string, pid int) string {
	entries, err := os.ReadDir(pidDir)
	if err != nil || pid == 0 {
		return ""
	}

	want := strconv.Itoa(pid)

	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(pidDir, entry.Name()))
		if err == nil && strings.TrimSpace(string(data)) == want {
			return entry.Name()
		}
	}

	return ""
}
