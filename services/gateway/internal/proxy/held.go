package proxy

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/gateway/internal/resume"
	"github.com/dactyl-os/dactyl/services/kit/backoff"
)

const (
	// listBytes of a list are held back until it is complete: one that breaks off in between is asked for again, and its caller
	// sees one list. What is larger goes out as it comes.
	listBytes = 256 << 10
	// listTries bounds how often.
	listTries = 5
	// comeback is how long a resource may be missing after its owner's restart before it counts as destroyed.
	comeback = time.Second
)

// list serves List.
func (c *call) list(ctx context.Context, target string, request *raw.Frame, send func(any) error) (grpc.ClientStream, error) {
	for try := 1; ; try++ {
		held := &held{call: c, send: send}
		stream, err := c.relay(ctx, target, request, held.take)

		if status.Code(err) == codes.Unavailable && held.size > 0 && try < listTries && ctx.Err() == nil {
			held.drop()

			continue
		}

		if flushed := held.flush(); flushed != nil {
			return stream, flushed
		}

		return stream, err
	}
}

// held is the part of a list that waits for its end.
type held struct {
	call   *call
	send   func(any) error
	frames []*raw.Frame
	size   int
	sent   bool
}

func (h *held) take(message any) error {
	frame := message.(*raw.Frame) //nolint:forcetypeassert // relay gives frames
	size := frame.Len()

	if h.sent || h.size+size > listBytes || h.call.hand.Hold(size) != nil {
		if err := h.flush(); err != nil {
			return err
		}

		return h.send(frame)
	}

	h.size += size
	h.frames = append(h.frames, frame.Share())

	return nil
}

// flush lets out what was held.
func (h *held) flush() error {
	defer h.drop()

	h.sent = true

	for _, frame := range h.frames {
		if err := h.send(frame); err != nil {
			return err
		}
	}

	return nil
}

func (h *held) drop() {
	for _, frame := range h.frames {
		frame.Free()
	}

	h.call.hand.Release(h.size)
	h.frames, h.size = nil, 0
}

// watch serves Watch of this node's resources: it goes on when their owner restarts, and tells what has changed by that.
func (c *call) watch(ctx context.Context, request *raw.Frame, send func(any) error) (grpc.ClientStream, error) {
	data, release := request.Bytes()
	view := resume.New(data, c.hand.Remember)

	release()

	if view == nil {
		return c.relay(ctx, "", request, send)
	}

	w := &watcher{view: view, send: send}
	stream, err := c.relay(ctx, "", request, w.first)

	for pauses := (backoff.Backoff{First: comeback / 100, Most: comeback}); status.Code(err) == codes.Unavailable && w.begun && ctx.Err() == nil; {
		again := w.again()
		if again == nil || !pauses.Sleep(ctx) {
			break
		}

		stream, err = c.relay(ctx, "", raw.FromBytes(again), w.later)
		w.pause()
	}

	return stream, err
}

// watcher is one watch over the lives of its owner.
type watcher struct {
	send func(any) error

	mu     sync.Mutex
	view   *resume.View
	begun  bool
	absent *time.Timer
}

func (w *watcher) first(message any) error {
	data, release := message.(*raw.Frame).Bytes() //nolint:forcetypeassert // relay gives frames
	w.view.Told(data)
	release()

	w.begun = true

	return w.send(message)
}

func (w *watcher) again() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.view.Again()
}

func (w *watcher) later(message any) error {
	w.mu.Lock()
	defer w.mu.Unlock()

	data, release := message.(*raw.Frame).Bytes() //nolint:forcetypeassert // relay gives frames
	defer release()

	news, waits := w.view.News(data)
	if waits && w.absent == nil {
		w.absent = time.AfterFunc(comeback, w.gone)
	}

	return w.tell(news)
}

// gone tells of what did not come back. Who does not read is found out by the next message.
func (w *watcher) gone() {
	w.mu.Lock()
	defer w.mu.Unlock()

	if w.absent == nil {
		return
	}

	w.absent = nil
	_ = w.tell(w.view.Gone())
}

// pause ends the wait for what is missing: the owner is gone again.
func (w *watcher) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()

	if w.absent != nil {
		w.absent.Stop()
		w.absent = nil
	}
}

func (w *watcher) tell(messages [][]byte) error {
	for _, message := range messages {
		if err := w.send(raw.FromBytes(message)); err != nil {
			return err
		}
	}

	return nil
}
