package dhcp

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// A failed acquisition is tried again after retryFirst, then at doubled times up to retryMax.
const (
	retryFirst = 500 * time.Millisecond
	retryMax   = 30 * time.Second
	// extendAtMost is RFC 2131's least time between two requests to extend; short leases are asked for more often.
	extendAtMost = time.Minute
)

// operator keeps one link's lease.
type operator struct {
	exchange Exchange
	now      func() time.Duration
	wait     func(context.Context, time.Duration) error
	// changed tells of a new lease, or nil when it is lost.
	changed func(*Lease) error
	log     *slog.Logger
	link    string
}

// run goes on from a lease, if there is one, until ctx ends or a change cannot be told.
func (o *operator) run(ctx context.Context, lease *Lease) error {
	for failures := 0; ctx.Err() == nil; {
		next, pause, err := o.step(ctx, lease, failures)
		if ctx.Err() != nil {
			return nil
		}

		failures++

		if err == nil {
			failures = 0
		} else {
			o.log.Warn("no DHCP lease yet", "link", o.link, "held", lease != nil, "error", err)
		}

		if next != lease {
			if err := o.changed(next); err != nil {
				return err
			}

			lease = next
		}

		if o.wait(ctx, pause) != nil {
			return nil
		}
	}

	return nil
}

// step does what is due and says how long there is nothing to do.
func (o *operator) step(ctx context.Context, lease *Lease, failures int) (next *Lease, pause time.Duration, err error) {
	now := o.now()

	switch {
	case lease == nil:
		next, err = o.exchange.Acquire(ctx, o.link)
		if err != nil {
			return nil, min(retryFirst<<min(failures, 10), retryMax), err
		}

		o.log.Info("got DHCP lease", "lease", next.String())

		return next, next.Renew - now, nil
	case now >= lease.End:
		return nil, 0, errors.New("the lease has ended")
	case now < lease.Renew:
		return lease, lease.Renew - now, nil
	}

	// All servers are asked from Rebind on, and what none has extended is lost at its end, not later.
	deadline := lease.Rebind
	if now >= deadline {
		deadline = lease.End
	}

	asked, cancel := context.WithTimeout(ctx, deadline-now)
	defer cancel()

	next, err = o.exchange.Extend(asked, lease, now >= lease.Rebind)

	switch {
	case errors.Is(err, ErrRefused):
		return nil, 0, err
	case err != nil:
		return lease, again(lease, now, o.now()), err
	}

	o.log.Debug("extended DHCP lease", "lease", next.String())

	return next, next.Renew - now, nil
}

// again: half of what is left until the next deadline, RFC 2131 section 4.4.5. When the lease's own server let the time
// for it pass, the others are asked at once.
func again(lease *Lease, asked, now time.Duration) time.Duration {
	deadline := lease.Rebind

	switch {
	case asked < lease.Rebind && now >= lease.Rebind:
		return 0
	case now >= lease.Rebind:
		deadline = lease.End
	}

	least := min(extendAtMost, (lease.End-lease.Start)/20)

	return min(max((deadline-now)/2, least), max(lease.End-now, 0))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
