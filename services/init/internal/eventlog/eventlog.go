// Package eventlog keeps the node's last events and hands them to any number of readers, each at its own pace.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dactyl-os/dactyl/services/kit/poke"
)

// TypePrefix is the type URL's beginning that v1.8 clients look for.
const TypePrefix = "talos/runtime/"

// Event is one thing that happened.
type Event struct {
	Time time.Time
	Data *anypb.Any
	// ID sorts by time, also across boots.
	ID string
	// Actor is set when the event follows from a request: the id that the request's answer named.
	Actor string
	seq   uint64
}

// Log is a ring of events.
type Log struct {
	changed chan struct{}
	ring    []Event
	mu      sync.Mutex
	next    uint64
	limit   int
	// sealed: reads that wait for it end; readers is how many do. left is poked when one has ended.
	sealed  bool
	readers int
	left    poke.Chan
}

// New makes a log that keeps the last limit events.
func New(limit int) *Log {
	return &Log{changed: make(chan struct{}), limit: limit, left: poke.New()}
}

// Publish appends an event with a payload of the public API.
func (l *Log) Publish(actor string, payload proto.Message) error {
	data, err := proto.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}

	name := payload.ProtoReflect().Descriptor().FullName()
	l.append(time.Now(), actor, &anypb.Any{TypeUrl: TypePrefix + string(name), Value: data})

	return nil
}

func (l *Log) append(now time.Time, actor string, data *anypb.Any) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if len(l.ring) == l.limit {
		l.ring = slices.Delete(l.ring, 0, max(1, l.limit/8))
	}

	id := fmt.Sprintf("%016x%04x", now.UnixNano(), l.next&0xffff)
	l.ring = append(l.ring, Event{Time: now, Data: data, ID: id, Actor: actor, seq: l.next})
	l.next++

	l.wake()
}

func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// ErrSealed ends a read that asked for it, after all that happened before.
var ErrSealed = errors.New("no more events")

// Seal ends the reads that asked for it, each once it has had everything so far, waits for them until ctx ends, and gives
// the number of those that have not ended.
func (l *Log) Seal(ctx context.Context) int {
	l.mu.Lock()
	l.sealed = true
	l.wake()
	l.mu.Unlock()

	for {
		l.mu.Lock()
		readers := l.readers
		l.mu.Unlock()

		if readers == 0 {
			return 0
		}

		select {
		case <-l.left:
		case <-ctx.Done():
			return readers
		}
	}
}

func (l *Log) enter() {
	l.mu.Lock()
	l.readers++
	l.mu.Unlock()
}

func (l *Log) leave() {
	l.mu.Lock()
	l.readers--
	l.mu.Unlock()

	l.left.Poke()
}

// Query says where a reader begins and what it sees. Without any tail it sees only what happens from now on.
type Query struct {
	// TailID begins after the event of that id.
	TailID string
	// Actor leaves out events of other actors.
	Actor string
	// Tail begins that many events back; below zero is everything kept.
	Tail int
	// Since begins that long ago.
	Since time.Duration
	// UntilSealed ends the read when the log is sealed.
	UntilSealed bool
}

// Read calls visit with each event until ctx ends or visit fails.
func (l *Log) Read(ctx context.Context, q Query, visit func(Event) error) error {
	if q.UntilSealed {
		l.enter()
		defer l.leave()
	}

	from := l.begin(q)

	for {
		events, changed, sealed := l.after(from)
		for _, e := range events {
			from = e.seq + 1

			if q.Actor != "" && q.Actor != e.Actor {
				continue
			}

			if err := visit(e); err != nil {
				return err
			}
		}

		if len(events) > 0 {
			continue
		}

		if sealed && q.UntilSealed {
			return ErrSealed
		}

		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin finds the first sequence number that a query asks for. The tail counts only events of the actor asked for.
func (l *Log) begin(q Query) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()

	at := len(l.ring)

	switch {
	case q.TailID != "":
		at, _ = slices.BinarySearchFunc(l.ring, q.TailID, func(e Event, id string) int {
			if e.ID <= id {
				return -1
			}

			return 1
		})
	case q.Since > 0:
		start := time.Now().Add(-q.Since)
		at = slices.IndexFunc(l.ring, func(e Event) bool { return !e.Time.Before(start) })

		if at < 0 {
			at = len(l.ring)
		}
	case q.Tail < 0:
		at = 0
	default:
		for n := 0; at > 0 && n < q.Tail; {
			at--

			if q.Actor == "" || l.ring[at].Actor == q.Actor {
				n++
			}
		}
	}

	if at == len(l.ring) {
		return l.next
	}

	return l.ring[at].seq
}

// after gives events from a sequence number on, a few at a time, the channel that closes at the next one, and whether the log is sealed.
func (l *Log) after(seq uint64) ([]Event, <-chan struct{}, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()

	at, _ := slices.BinarySearchFunc(l.ring, seq, func(e Event, seq uint64) int {
		if e.seq < seq {
			return -1
		}

		return 1
	})

	return slices.Clone(l.ring[at:min(len(l.ring), at+64)]), l.changed, l.sealed
}
