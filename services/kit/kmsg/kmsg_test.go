package kmsg_test

import (
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kmsg"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]kmsg.Record{
		"3,339,5140900,-;disk failed\n SUBSYSTEM=block\n": {Priority: 3, At: 5140900 * time.Microsecond, Message: "disk failed", Sequence: 339},
		"30,340,1,-;udevd; starting\n":                    {Priority: 6, Facility: 3, At: time.Microsecond, Message: "udevd; starting", Sequence: 340},
	} {
		if got, ok := kmsg.Parse(text); !ok || got != want {
			t.Errorf("%q: %+v, %v", text, got, ok)
		}
	}

	for _, text := range []string{"", "no record", "1,2;short", "x,1,2;bad priority", "1,1,x;bad time", "1,x,1;bad number", "1,1,-5;bad time"} {
		if got, ok := kmsg.Parse(text); ok {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("3,339,5140900,-;disk failed\n SUBSYSTEM=block\n")
	f.Fuzz(func(t *testing.T, text string) {
		if r, ok := kmsg.Parse(text); ok && (r.Priority < 0 || r.Priority > 7 || r.Facility < 0 || r.At < 0) {
			t.Errorf("%+v", r)
		}
	})
}
