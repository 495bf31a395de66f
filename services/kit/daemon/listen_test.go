package daemon

import (
	"slices"
	"testing"
)

func TestInheritedNames(t *testing.T) {
	for _, tc := range []struct {
		fds, names, pid string
		want            []string
		fails           bool
	}{
		{"", "", "", nil, false},
		{"1", "networkd", "", []string{"networkd"}, false},
		{"2", "gateway:tcp-50000", "", []string{"gateway", "tcp-50000"}, false},
		{"3", "trustd:tcp-50001:udp-50002", "", []string{"trustd", "tcp-50001", "udp-50002"}, false},
		{"2", "", "", []string{"listener-0", "listener-1"}, false},
		{"2", "networkd", "", nil, true},
		{"x", "", "", nil, true},
		{"-1", "", "", nil, true},
		{"1", "networkd", "7", []string{"networkd"}, false},
		{"1", "networkd", "8", nil, false},
	} {
		count, names, err := inheritedNames(tc.fds, tc.names, tc.pid, 7)
		if (err != nil) != tc.fails || !slices.Equal(names, tc.want) || count != len(tc.want) {
			t.Errorf("%q %q %q: %d %q, %v", tc.fds, tc.names, tc.pid, count, names, err)
		}
	}
}
