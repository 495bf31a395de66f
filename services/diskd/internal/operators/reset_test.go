package operators_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/machine"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/operators"
)

const (
	all    = machine.ResetRequest_ALL
	system = machine.ResetRequest_SYSTEM_DISK
	user   = machine.ResetRequest_USER_DISKS
)

// disks are a system disk, a disk of machine.disks, one without partitions, one in use and a CD.
func disks() []disk.Disk {
	return []disk.Disk{
		{Path: "/dev/vda", Content: disk.GPT, Parts: []disk.Part{
			{Label: "META", Index: 1}, {Label: "STATE", Index: 2, Mount: "/system/state"}, {Label: "EPHEMERAL", Index: 3, Mount: "/var"},
		}},
		{Path: "/dev/vdb", Content: disk.GPT, Parts: []disk.Part{{Label: "user-1", Index: 1, Mount: "/var/mnt"}}},
		{Path: "/dev/vdc", Content: "xfs"},
		{Path: "/dev/vdd", Content: "ext4", Mount: "/mnt"},
		{Path: "/dev/sr0", CDROM: true},
	}
}

func request(mode machine.ResetRequest_WipeMode, labels, userDisks string) *machine.ResetRequest {
	in := &machine.ResetRequest{Mode: mode, UserDisksToWipe: strings.Fields(userDisks)}
	for _, label := range strings.Fields(labels) {
		in.SystemPartitionsToWipe = append(in.SystemPartitionsToWipe, &machine.ResetPartitionSpec{Label: label, Wipe: true})
	}

	return in
}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		in   *machine.ResetRequest
		want string // marks, disks that are wiped at once
	}{
		{request(all, "", ""), "map[/dev/vda:[]] []"},
		{request(all, "EPHEMERAL META", ""), "map[/dev/vda:[3 1]] []"},
		{request(all, "EPHEMERAL", "/dev/vdb /dev/vdc"), "map[/dev/vda:[3] /dev/vdb:[]] [/dev/vdc]"},
		{request(system, "", ""), "map[/dev/vda:[]] []"},
		{request(system, "STATE", ""), "map[/dev/vda:[2]] []"},
		{request(user, "", "/dev/vdb"), "map[/dev/vdb:[]] []"},
		{request(user, "", "/dev/vdc"), "map[] [/dev/vdc]"},
	} {
		wish, err := operators.Plan(disks(), test.in)
		if got := fmt.Sprint(wish.Marks, wish.Wipe); err != nil || got != test.want {
			t.Errorf("%v: %s %v, want %s", test.in, got, err, test.want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	kept := request(all, "EPHEMERAL", "")
	kept.SystemPartitionsToWipe[0].Wipe = false

	for _, test := range []struct {
		in   *machine.ResetRequest
		want string
	}{
		{request(all, "EPHEMERAL BOOTX", ""), "/dev/vda has no partition BOOTX (it has META, STATE, EPHEMERAL)"},
		{request(all, "", "/dev/vdz"), "there is no disk /dev/vdz"},
		{request(all, "", "/dev/vda"), "/dev/vda is the system disk, not a user disk"},
		{request(all, "", "/dev/vdd"), "/dev/vdd is in use: it is mounted at /mnt"},
		{request(all, "", "/dev/sr0"), "/dev/sr0 cannot be written to"},
		{request(user, "", ""), "no user disks are named"},
		{request(user, "EPHEMERAL", "/dev/vdb"), "exclude each other"},
		{request(system, "", "/dev/vdb"), "exclude each other"},
		{kept, "none of the partitions named is to be wiped"},
	} {
		if _, err := operators.Plan(disks(), test.in); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.in, err, test.want)
		}
	}

	if _, err := operators.Plan(disks()[1:], request(all, "", "")); err == nil {
		t.Error("no system disk: not refused")
	}
}
