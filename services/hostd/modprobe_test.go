package hostd_test

import (
	"testing"

	"github.com/dactyl-os/dactyl/services/hostd"
)

func TestModuleRequest(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"/usr/bin/hostd", "-q", "--", "fs-ext4"}, "fs-ext4"},
		{[]string{"/usr/bin/hostd", "-q", "--", "-x"}, "-x"},
		{[]string{"/usr/bin/hostd"}, ""},
		{[]string{"/usr/bin/hostd", "--log-level", "debug", "x"}, ""},
		{[]string{"/usr/bin/hostd", "-q", "--"}, ""},
	} {
		if got, asked := hostd.ModuleRequest(test.args); got != test.want || asked != (test.want != "") {
			t.Errorf("%q asks for %q, %v", test.args, got, asked)
		}
	}
}
