// Package delivery sends away what happens on the node: the kernel's log and events. Nothing is copied to wait for a receiver that
// is away: the kernel and init keep so much, and a receiver that comes back gets what they still have. It may get again what it
// got last.
package delivery

import (
	"context"
	"log/slog"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/backoff"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// sendWithin bounds one connection and one message.
const sendWithin = 10 * time.Second

// keep runs sessions one after the other until ctx ends. What ends them is told once.
func keep(ctx context.Context, log *slog.Logger, what, destination string, session func(ctx context.Context) error) {
	var told reconcile.Told

	for pauses := (backoff.Backoff{First: 100 * time.Millisecond, Most: 10 * time.Second}); ctx.Err() == nil; {
		begin := time.Now()
		err := session(ctx)

		if ctx.Err() == nil && err != nil && told.News(destination, err.Error()) {
			log.Warn(what+" waits for its receiver", "destination", destination, "error", err)
		}

		if time.Since(begin) > sendWithin {
			pauses.Reset()
		}

		if !pauses.Sleep(ctx) {
			return
		}
	}
}
