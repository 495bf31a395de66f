// Package backoff gives the pauses between attempts at what failed: the first short, each further one twice as long.
package backoff

import (
	"context"
	"time"
)

// Backoff is the pauses of one thing that is tried again. The zero value of what is not exported is the beginning.
type Backoff struct {
	// First and Most bound a pause.
	First, Most time.Duration

	last time.Duration
}

// Next gives the pause before the next attempt.
func (b *Backoff) Next() time.Duration {
	b.last = min(max(2*b.last, b.First), b.Most)

	return b.last
}

// Last is the pause that Next gave last, 0 after a success.
func (b *Backoff) Last() time.Duration { return b.last }

// Reset begins anew, after a success.
func (b *Backoff) Reset() { b.last = 0 }

// Sleep waits for the next attempt; false when ctx ended meanwhile.
func (b *Backoff) Sleep(ctx context.Context) bool {
	timer := time.NewTimer(b.Next())
	defer timer.Stop()

	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
