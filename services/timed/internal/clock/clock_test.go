package clock

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStatus(t *testing.T) {
	got := status(&unix.Timex{
		Offset: -1500, Maxerror: 2000, Esterror: 7, Freq: 65536 * 12, Constant: 6,
		Status: unix.STA_PLL | unix.STA_NANO,
	}, 0)
	want := Status{
		Offset: -1500, MaxError: 2 * time.Millisecond, EstError: 7 * time.Microsecond, FrequencyRatio: 1.000012,
		Flags: "STA_PLL | STA_NANO", State: "TIME_OK", Constant: 6, Synced: true,
	}

	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	if s := status(&unix.Timex{Offset: 3, Status: unix.STA_UNSYNC}, 5); s.Synced || s.State != "TIME_ERROR" || s.Offset != 3*time.Microsecond {
		t.Errorf("%+v", s)
	}

	if _, err := New(false).Status(); err != nil {
		t.Error(err)
	}
}

// The clock of the machine that runs the tests is never set: only the refusal is tried.
func TestRefused(t *testing.T) {
	for _, err := range []error{Clock{}.Step(time.Hour), New(false).Slew(time.Millisecond, time.Minute)} {
		if !errors.Is(err, ErrNotAllowed) {
			t.Error(err)
		}
	}
}
