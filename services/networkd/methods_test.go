package networkd

import (
	"testing"

	"github.com/dactyl-os/dactyl/services/networkd/internal/sockets"
)

// TestEverySocketHasAProcessWhenAskedFor: clients read its fields without a look; a socket in TIME_WAIT has none.
func TestEverySocketHasAProcessWhenAskedFor(t *testing.T) {
	if r := record(sockets.Socket{}, map[uint64]sockets.Process{}); r.GetProcess().GetPid() != 0 || r.Process == nil {
		t.Errorf("process %v", r.Process)
	}

	if r := record(sockets.Socket{Inode: 7}, map[uint64]sockets.Process{7: {PID: 3, Name: "x"}}); r.GetProcess().GetPid() != 3 {
		t.Errorf("process %v", r.Process)
	}

	if r := record(sockets.Socket{Inode: 7}, nil); r.Process != nil {
		t.Errorf("process %v without being asked for", r.Process)
	}
}
