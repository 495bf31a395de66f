package outside

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/dactyl-os/dactyl/services/kit/cgroup"
	"github.com/dactyl-os/dactyl/services/kit/kittest/door"
)

// Door is a process inside a node that connects to the sockets of its daemons, past the gateway.
type Door struct {
	*door.Door
	runDir string
}

// RootsTools is the group in which init keeps root's own tools.
const RootsTools = cgroup.Root

// OpenDoor starts a program that serves a door in the PID namespace of the node that holds an address. The daemons take it for
// what its group says: one of themselves, RootsTools, or nobody they know.
func OpenDoor(ctx context.Context, node, group string, program ...string) (*Door, error) {
	namespace, err := NetNS(ctx, node)
	if err != nil {
		return nil, err
	}

	pid, err := PID(namespace, "init")
	if err != nil {
		return nil, err
	}

	root := fmt.Sprintf("/proc/%d/root", pid)

	opened, err := cgroup.Make(filepath.Join(root, "sys/fs/cgroup", group))
	if err != nil {
		return nil, err
	}
	defer opened.Close()

	cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(pid), "--pid"}, program...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(opened.Fd())}

	d, err := door.Open(cmd)
	if err != nil {
		return nil, err
	}

	return &Door{d, filepath.Join(root, "run/dactyl")}, nil
}

// Conn is a connection to a daemon's socket.
func (d *Door) Conn(daemon string) (*grpc.ClientConn, error) {
	socket := filepath.Join(d.runDir, daemon+".sock")

	return grpc.NewClient("passthrough:///"+daemon, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return d.Dial(ctx, socket) }))
}
