package discipline_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	. "github.com/dactyl-os/dactyl/services/timed/internal/discipline"
)

func TestModeOf(t *testing.T) {
	for want, facts := range map[string]Facts{
		"0 the clock of a container is its host's": {Platform: "container", Disabled: true, MaySet: true},
		"0 machine.time.disabled is set":           {Platform: "metal", Disabled: true, MaySet: true},
		"1 this daemon may not set the clock":      {Platform: "metal"},
		"2 the clock is this machine's":            {Platform: "metal", MaySet: true},
	} {
		mode, why := ModeOf(facts)
		if got := fmt.Sprintf("%d %s", mode, why); got != want {
			t.Errorf("%+v: got %q, want %q", facts, got, want)
		}
	}
}

// The story of one clock: each line is what was measured and what came of it.
func TestStory(t *testing.T) {
	const ms = time.Millisecond

	for _, c := range []struct {
		mode Mode
		want string
		in   []Sample
	}{
		{
			mode: Set,
			in: []Sample{
				{Offset: -2 * time.Hour, RoundTrip: 5 * ms}, {Offset: 3 * ms}, {Offset: -1 * ms}, {Offset: 50 * ms},
				{Offset: 400 * ms}, {Offset: 1 * ms}, {Offset: 400 * ms}, {Offset: 401 * ms},
				{Offset: 2 * ms, RoundTrip: 3 * time.Second},
			},
			want: `-2h0m0s → step synced=true epoch=1 poll=32s
3ms → slew synced=true epoch=1 poll=1m4s
-1ms → slew synced=true epoch=1 poll=2m8s
50ms → slew synced=true epoch=1 poll=1m4s
400ms → leave synced=true epoch=1 poll=32s
1ms → slew synced=true epoch=1 poll=1m4s
400ms → leave synced=true epoch=1 poll=32s
401ms → step synced=true epoch=1 poll=32s
2ms → leave synced=true epoch=1 poll=32s`,
		},
		{
			mode: Watch,
			in:   []Sample{{Offset: time.Hour}, {Offset: 10 * ms}, {Offset: ms}, {Offset: -time.Second}},
			want: `1h0m0s → leave synced=false epoch=0 poll=32s
10ms → leave synced=true epoch=0 poll=32s
1ms → leave synced=true epoch=0 poll=1m4s
-1s → leave synced=false epoch=0 poll=32s`,
		},
	} {
		var (
			s     State
			a     Action
			lines []string
		)

		for _, m := range c.in {
			s, a = s.Measured(c.mode, m)
			lines = append(lines, fmt.Sprintf("%s → %s synced=%v epoch=%d poll=%s", m.Offset, a, s.Synced, s.Epoch, s.Poll))
		}

		if got := strings.Join(lines, "\n"); got != c.want {
			t.Errorf("mode %d\n--- got\n%s\n--- want\n%s", c.mode, got, c.want)
		}
	}
}

func TestFailures(t *testing.T) {
	var polls []string

	s := State{}
	for range 7 {
		s = s.Failed()
		polls = append(polls, s.Poll.String())
	}

	if got := strings.Join(polls, " "); got != "1s 2s 4s 8s 16s 32s 32s" {
		t.Error(got)
	}

	if s := (State{Synced: true, Poll: MaxPoll}).Failed(); !s.Synced || s.Poll != MinPoll {
		t.Errorf("%+v", s)
	}
}

// FuzzMeasured: whatever is measured, the poll stays within its bounds, a clock is only touched where it may be, and a
// clock that was right is never stepped for one measurement.
func FuzzMeasured(f *testing.F) {
	f.Add(int64(0), int64(0), int64(time.Hour), 2, true)
	f.Add(int64(math.MinInt64), int64(1), int64(-1), 2, false)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(0), 1, true)

	f.Fuzz(func(t *testing.T, offset, roundTrip, poll int64, mode int, synced bool) {
		before := State{Synced: synced, Poll: min(max(time.Duration(poll), 0), MaxPoll)}
		after, action := before.Measured(Mode(mode), Sample{Offset: time.Duration(offset), RoundTrip: time.Duration(roundTrip)})

		if after.Poll < MinPoll && after.Synced || after.Poll > MaxPoll || after.Poll <= 0 {
			t.Errorf("poll %s", after.Poll)
		}

		if action != Leave && Mode(mode) != Set {
			t.Errorf("mode %d: %s", mode, action)
		}

		if action == Step && synced {
			t.Errorf("one measurement stepped a clock that was right")
		}
	})
}
