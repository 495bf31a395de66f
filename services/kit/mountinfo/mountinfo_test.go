package mountinfo_test

import (
	"reflect"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

func TestParse(t *testing.T) {
	got := mountinfo.Parse("36 35 254:5 / /system/state rw,nosuid,relatime shared:1 - ext4 /dev/vda5 rw\nrubbish\n" +
		`40 35 254:6 / /var/a\040b\134 ro - ext4 /dev/vda6 rw`)

	want := []mountinfo.Mount{
		{Dev: "254:5", Root: "/", Source: "/dev/vda5", Target: "/system/state", Type: "ext4", Options: []string{"rw", "nosuid", "relatime"}},
		{Dev: "254:6", Root: "/", Source: "/dev/vda6", Target: `/var/a b\`, Type: "ext4", Options: []string{"ro"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
