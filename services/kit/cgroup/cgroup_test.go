package cgroup

import (
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

func TestChild(t *testing.T) {
	for _, tc := range []struct{ parent, place, want string }{
		{"/", "/networkd", "networkd"},
		{"/", "/etcdd/helper/deep", "etcdd"},
		{"/", "/containerd.unit/main", ""},
		{"/", "/containerd.unit/k8s/pod", ""},
		{"/", "/", ""},
		{"/", "/..", ""},
		{"/", "/../../gateway", ""},
		{"/", "", ""},
		{"/nodes/one", "/nodes/one/gateway", "gateway"},
		{"/nodes/one", "/nodes/one", ""},
		{"/nodes/one", "/nodes/onemore/gateway", ""},
		{"/nodes/one", "/nodes/two/gateway", ""},
		{"/nodes/one", "/gateway", ""},
		{"/nodes/one", "/nodes/one/../two", ""},
		{"/nodes/one", "/nodes/one/gateway (deleted)", "gateway (deleted)"},
	} {
		if got := Child(tc.parent, tc.place); got != tc.want {
			t.Errorf("%q below %q is %q, want %q", tc.place, tc.parent, got, tc.want)
		}
	}
}

func TestDir(t *testing.T) {
	const hybrid = `30 25 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`

	const bound = `40 25 0:29 /../.. /host rw - cgroup2 cgroup2 rw
41 25 0:29 /slice /sys/fs/cgroup rw - cgroup2 cgroup2 rw
`

	for _, tc := range []struct{ mounts, place, want string }{
		{hybrid, "/", "/sys/fs/cgroup/unified"},
		{hybrid, "/a/b", "/sys/fs/cgroup/unified/a/b"},
		{bound, "/slice/a", "/sys/fs/cgroup/a"},
		{bound, "/slice", "/sys/fs/cgroup"},
		{bound, "/slices", ""},
		{bound, "/", ""},
		{"", "/", ""},
	} {
		got, err := dirIn(mountinfo.Parse(tc.mounts), tc.place)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q is at %q, %v, want %q", tc.place, got, err, tc.want)
		}
	}
}
