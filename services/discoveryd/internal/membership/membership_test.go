package membership_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/discoveryd/internal/membership"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// One story of a node that comes and goes, told step by step.
func TestPresence(t *testing.T) {
	t.Parallel()

	p := membership.NewPresence([]string{"old"}, at(0))

	for _, step := range []struct {
		at     int
		what   string
		do     func(now time.Time)
		known  string
		next   int
		expire string
	}{
		{0, "started again with a remembered node", nil, "old", 30, ""},
		{1, "b joins", func(time.Time) { p.Joined("b") }, "b old", 30, ""},
		{5, "the remembered one answers", func(time.Time) { p.Joined("old") }, "b old", 0, ""},
		{10, "b is killed", func(now time.Time) { p.Left("b", now) }, "b old", 40, ""},
		{12, "told again that b is gone", func(now time.Time) { p.Left("b", now) }, "b old", 40, ""},
		{20, "b is back", func(time.Time) { p.Joined("b") }, "b old", 0, ""},
		{60, "long after", nil, "b old", 0, ""},
		{70, "b leaves", func(now time.Time) { p.Left("b", now) }, "b old", 100, ""},
		{80, "this node falls out", func(now time.Time) { p.AllLeft(now) }, "b old", 100, ""},
		{99, "a moment before", nil, "b old", 100, ""},
		{100, "grace over", nil, "old", 110, "b"},
		{120, "the other's too", nil, "", 0, "old"},
		{130, "an unknown node leaves", func(now time.Time) { p.Left("x", now) }, "", 0, ""},
	} {
		if step.do != nil {
			step.do(at(step.at))
		}

		expired, next := p.Expire(at(step.at))

		var known []string

		for _, id := range []string{"b", "old", "x"} {
			if p.Known(id) {
				known = append(known, id)
			}
		}

		wantNext := time.Time{}
		if step.next != 0 {
			wantNext = at(step.next)
		}

		if strings.Join(known, " ") != step.known || !next.Equal(wantNext) || strings.Join(expired, " ") != step.expire {
			t.Errorf("%ds %s: known %q next %v expired %q, want %q %v %q",
				step.at, step.what, known, next, expired, step.known, wantNext, step.expire)
		}
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()

	p := membership.NewPresence(nil, at(0))
	for _, id := range []string{"b", "c", "d", "twin-1", "twin-2"} {
		p.Joined(id)
	}

	p.Left("b", at(1))

	own := record.Record{NodeID: "self", Nodename: "cp-1", Hostname: "cp-1.example.org"}
	others := []record.Record{
		{NodeID: "b", Nodename: "worker"},                              // before its reset, in its grace
		{NodeID: "c", Nodename: "worker"},                              // after it
		{NodeID: "d", Nodename: "cp-1"},                                // claims our name
		{NodeID: "twin-2", Hostname: "twin"},                           // two alike
		{NodeID: "twin-1", Hostname: "twin"},                           //
		{NodeID: "never-seen", Nodename: "ghost"},                      // relayed, but not there
		{NodeID: "nameless"}, {NodeID: "self", Nodename: "other-life"}, // nothing to show
	}

	var names []string
	for _, m := range membership.Members("self", membership.Affiliates(own, others, p), p) {
		names = append(names, m.Name+"="+m.NodeID)
	}

	if got, want := strings.Join(names, " "), "cp-1=self twin=twin-1 worker=c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
