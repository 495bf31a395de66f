package eventlog_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/init/internal/eventlog"
)

func publish(t *testing.T, log *eventlog.Log, actor string, names ...string) {
	t.Helper()

	for _, name := range names {
		if err := log.Publish(actor, &machine.SequenceEvent{Sequence: name}); err != nil {
			t.Fatal(err)
		}
	}
}

// collect reads until `want` events have come.
func collect(t *testing.T, log *eventlog.Log, q eventlog.Query, want int) ([]eventlog.Event, string) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()

	var (
		got   []eventlog.Event
		names []string
	)

	if want == 0 {
		cancel()
	}

	err := log.Read(ctx, q, func(e eventlog.Event) error {
		var payload machine.SequenceEvent
		if err := e.Data.UnmarshalTo(&payload); err != nil {
			return err
		}

		got, names = append(got, e), append(names, payload.GetSequence())
		if len(got) == want {
			cancel()
		}

		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}

	return got, strings.Join(names, " ")
}

func TestTails(t *testing.T) {
	log := eventlog.New(8)
	publish(t, log, "", "a", "b")
	publish(t, log, "actor", "c")
	publish(t, log, "", "d")
	all, names := collect(t, log, eventlog.Query{Tail: -1}, 4)

	if names != "a b c d" {
		t.Errorf("everything: %s", names)
	}

	if url := all[0].Data.GetTypeUrl(); url != "talos/runtime/machine.SequenceEvent" {
		t.Errorf("type url %s", url)
	}

	for i := 1; i < len(all); i++ {
		if all[i-1].ID >= all[i].ID {
			t.Errorf("ids do not sort: %s, %s", all[i-1].ID, all[i].ID)
		}
	}

	for name, tc := range map[string]struct {
		want  string
		query eventlog.Query
		count int
	}{
		"only new":         {want: "", query: eventlog.Query{}},
		"last two":         {want: "c d", query: eventlog.Query{Tail: 2}, count: 2},
		"more than kept":   {want: "a b c d", query: eventlog.Query{Tail: 99}, count: 4},
		"after an id":      {want: "c d", query: eventlog.Query{TailID: all[1].ID}, count: 2},
		"since":            {want: "a b c d", query: eventlog.Query{Since: time.Minute}, count: 4},
		"of an actor":      {want: "c", query: eventlog.Query{Tail: -1, Actor: "actor"}, count: 1},
		"last of an actor": {want: "c", query: eventlog.Query{Tail: 1, Actor: "actor"}, count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := collect(t, log, tc.query, tc.count); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestOldEventsGo(t *testing.T) {
	log := eventlog.New(3)
	publish(t, log, "", "a", "b", "c", "d", "e")

	if _, got := collect(t, log, eventlog.Query{Tail: -1}, 3); got != "c d e" {
		t.Errorf("kept %q", got)
	}
}

func TestReaderFollows(t *testing.T) {
	log := eventlog.New(100)
	started := make(chan struct{})
	done := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())

	publish(t, log, "", "old")

	go func() {
		var names []string

		_ = log.Read(ctx, eventlog.Query{Tail: 1}, func(e eventlog.Event) error {
			if names = append(names, e.ID); len(names) == 1 {
				close(started)
			}

			if len(names) == 41 {
				cancel()
			}

			return nil
		})
		done <- strings.Join(names, " ")
	}()

	<-started

	for range 40 {
		publish(t, log, "", "new")
	}

	if n := len(strings.Fields(<-done)); n != 41 {
		t.Errorf("saw %d events, want 41", n)
	}
}
