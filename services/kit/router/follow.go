package router

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/services/kit/backoff"
)

// An owner that is away is asked again after retryMin, then ever more slowly up to retryMax.
const (
	retryMin = 10 * time.Millisecond
	retryMax = 500 * time.Millisecond
)

// grace is how long a resource may be missing from a restarted owner before it counts as destroyed: daemons publish
// step by step after a start, and what they publish again unchanged never went away.
const grace = time.Second

// wants is what the watcher asked for.
type wants struct {
	bookmark               state.Bookmark
	tail                   int
	contents, bootstrapped bool
	noop                   bool
	// single watches begin with the state of their one resource, also when there is none.
	single bool
}

// follower keeps one watch alive over any number of subscriptions.
type follower struct {
	subscribe subscribe
	out       output
	wants     wants
	kind      resource.Kind
	options   options

	view     *view
	bookmark state.Bookmark
	// begun is set when the watcher has got its first contents.
	begun bool
	// contents tells readers of the view what is known of the owner.
	contents *contents
	// told is why the watch broke, as logged last.
	told string
}

func newFollower(s subscribe, out output, w wants, kind resource.Kind, o options) *follower {
	return &follower{subscribe: s, out: out, wants: w, kind: kind, options: o, view: newView(), contents: newContents()}
}

// start opens the first subscription before it returns, and follows in the background.
func (f *follower) start(ctx context.Context) error {
	subCtx, cancel := context.WithCancel(ctx)
	ch := make(chan []state.Event)
	first := from{bookmark: f.wants.bookmark, tail: f.wants.tail}

	if err := f.subscribe(subCtx, first, ch); err != nil {
		cancel()

		return err
	}

	go func() {
		err := f.consume(ctx, first, ch)

		cancel()

		if !f.over(ctx, err) {
			f.run(ctx)
		}
	}()

	return nil
}

// run subscribes again and again until the watcher goes or the owner refuses for good.
func (f *follower) run(ctx context.Context) {
	retry := backoff.Backoff{First: retryMin, Most: retryMax}

	for ctx.Err() == nil {
		lasting, err := f.follow(ctx)
		if f.over(ctx, err) {
			return
		}

		if lasting {
			f.told = ""
			retry.Reset()
		}

		f.log(err)

		retry.Sleep(ctx)
	}
}

// log tells of a watch that broke, once for each reason; an owner that is away is no news.
func (f *follower) log(err error) {
	if err == nil || IsNoOwner(err) || status.Code(err) == codes.Unavailable || err.Error() == f.told {
		return
	}

	f.told = err.Error()
	f.options.log.Warn("watch broke", "type", f.kind.Type(), "error", err)
}

// over tells whether the watch has ended, after telling the watcher of an error that will not pass.
func (f *follower) over(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}

	if !permanent(err) {
		return false
	}

	f.out(ctx, []state.Event{{Type: state.Errored, Error: err}})

	return true
}

// follow runs one subscription to its end; lasting tells whether it held long enough to start over without delay.
func (f *follower) follow(ctx context.Context) (lasting bool, err error) {
	subCtx, cancel := context.WithCancel(ctx)
	defer cancel()

	ch := make(chan []state.Event)
	begin := f.next()

	err = f.subscribe(subCtx, begin, ch)
	if state.IsInvalidWatchBookmarkError(err) && begin.bookmark != nil {
		// The owner restarted or moved on too far: list again.
		f.bookmark = nil
		begin = from{}
		err = f.subscribe(subCtx, begin, ch)
	}

	f.contents.tried(err)

	if err != nil {
		return false, err
	}

	since := time.Now()
	err = f.consume(ctx, begin, ch)

	return time.Since(since) > retryMax, err
}

func (f *follower) next() from {
	switch {
	case f.bookmark != nil:
		return from{bookmark: f.bookmark}
	case f.begun:
		return from{}
	default:
		return from{bookmark: f.wants.bookmark, tail: f.wants.tail}
	}
}

// permanent errors are a refusal, not an absence.
func permanent(err error) bool {
	if err == nil || IsNoOwner(err) {
		return false
	}

	switch status.Code(err) { // the others are failures
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.Unimplemented:
		return true
	default:
		return false
	}
}
