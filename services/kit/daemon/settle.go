package daemon

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// settleQuiet is how long a restarted daemon's store must not change to count as filled.
	settleQuiet = 20 * time.Millisecond
	// settleBound is when readers stop waiting for it.
	settleBound = 1500 * time.Millisecond
)

// settle makes a restart invisible to readers: while the daemon fills its store again, what is not there yet is waited
// for. At the first start of a boot nothing is held: there is nobody to fool, and daemons would wait for each other.
type settle struct {
	held atomic.Int32
	done chan struct{}
}

func newSettle() *settle { return &settle{done: make(chan struct{})} }

func (s *settle) hold() (release func()) {
	s.held.Add(1)

	return sync.OnceFunc(func() { s.held.Add(-1) })
}

// watch closes done when the store is filled.
func (s *settle) watch(ctx context.Context, restarted bool, quiet func() time.Duration) {
	defer close(s.done)

	if !restarted {
		return
	}

	bound := time.NewTimer(settleBound)
	defer bound.Stop()

	tick := time.NewTicker(settleQuiet / 4)
	defer tick.Stop()

	for s.held.Load() > 0 || quiet() < settleQuiet {
		select {
		case <-tick.C:
		case <-bound.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// wait returns when the store is filled.
func (s *settle) wait(ctx context.Context) {
	select {
	case <-s.done:
	default:
		select {
		case <-s.done:
		case <-ctx.Done():
		}
	}
}

// markStarted leaves a mark of this boot, and tells whether a predecessor did. A daemon that may not write there counts as
// not restarted.
func markStarted(mark string) (restarted bool) {
	if _, err := os.Lstat(mark); err == nil {
		return true
	}

	// Who runs alone, without init, makes the directory of its kept files itself.
	if os.MkdirAll(filepath.Dir(mark), 0o700) == nil {
		_ = os.WriteFile(mark, nil, 0o600)
	}

	return false
}
