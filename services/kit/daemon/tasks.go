package daemon

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// tasks run beside each other until one fails.
type tasks struct {
	mu      sync.Mutex
	pending []task
	running map[int]string
	next    int
	started bool

	ctx    context.Context //nolint:containedctx // the group's own life
	cancel context.CancelCauseFunc
	wait   sync.WaitGroup
}

type task struct {
	run  func(context.Context) error
	name string
}

// add starts a task, or keeps it until start.
func (t *tasks) add(name string, run func(context.Context) error) {
	t.mu.Lock()
	defer t.mu.Unlock()

	if !t.started {
		t.pending = append(t.pending, task{run, name})

		return
	}

	t.launch(task{run, name})
}

// start runs what was added, now and later, until ctx ends.
func (t *tasks) start(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()

	t.started = true
	t.running = map[int]string{}
	t.ctx, t.cancel = context.WithCancelCause(ctx)

	for _, task := range t.pending {
		t.launch(task)
	}

	t.pending = nil
}

// launch needs t.mu.
func (t *tasks) launch(task task) {
	number := t.next
	t.next++
	t.running[number] = task.name

	t.wait.Go(func() {
		err := protect(task.name, func() error { return task.run(t.ctx) })

		t.mu.Lock()
		delete(t.running, number)
		t.mu.Unlock()

		// An error after the end was asked for is its echo.
		if err != nil && t.ctx.Err() == nil {
			t.cancel(fmt.Errorf("task %s: %w", task.name, err))
		}
	})
}

// failed is closed when a task failed; cause tells which.
func (t *tasks) failed() <-chan struct{} { return t.ctx.Done() }

func (t *tasks) cause() error { return context.Cause(t.ctx) }

// stop cancels the tasks and waits for them until the deadline.
func (t *tasks) stop(deadline time.Time) error {
	t.cancel(context.Canceled)

	done := make(chan struct{})

	go func() {
		t.wait.Wait()
		close(done)
	}()

	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()

	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("stop took too long, still running: %s", strings.Join(t.names(), ", "))
	}
}

func (t *tasks) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()

	names := make([]string, 0, len(t.running))
	for _, name := range t.running {
		names = append(names, name)
	}

	slices.Sort(names)

	return names
}

// protect turns a panic into an error with its stack.
func protect(name string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in %s: %v\n%s", name, p, debug.Stack())
		}
	}()

	return f()
}
