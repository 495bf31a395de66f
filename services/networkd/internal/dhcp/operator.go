package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/backoff"
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
	// wait ends early, without an error, when the link's carrier has come.
	wait func(context.Context, time.Duration) error
	// carrierUps is how often it has.
	carrierUps func() uint32
	// changed tells of a new lease, or nil when it is lost.
	changed func(*Lease) error
	log     *slog.Logger
	link    string
}

// run goes on from a lease, if there is one, until ctx ends or a change cannot be told.
func (o *operator) run(ctx context.Context, lease *Lease) error {
	retry := backoff.Backoff{First: retryFirst, Most: retryMax}

	for ctx.Err() == nil {
		next, pause, err := o.step(ctx, lease, retry.Next())
		if ctx.Err() != nil {
			return nil
		}

		if err == nil {
			retry.Reset()
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

// step does what is due and says how long there is nothing to do: retry, when no server gave a lease.
func (o *operator) step(ctx context.Context, lease *Lease, retry time.Duration) (next *Lease, pause time.Duration, err error) {
	now := o.now()

	switch {
	case lease == nil:
		next, err = o.acquire(ctx)
		if err != nil {
			return nil, retry, err
		}

		return next, next.Renew - now, nil
	case now >= lease.End:
		return nil, 0, errors.New("the lease has ended")
	case lease.CarrierUps != o.carrierUps():
		return o.check(ctx, lease)
	case now < lease.Renew:
		return lease, lease.Renew - now, nil
	default:
		return o.extend(ctx, lease, now)
	}
}

func (o *operator) acquire(ctx context.Context) (*Lease, error) {
	ups := o.carrierUps()

	lease, err := o.exchange.Acquire(ctx, o.link)
	if err != nil {
		return nil, err
	}

	lease.CarrierUps = ups
	o.log.Info("got DHCP lease", "lease", lease.String())

	return lease, nil
}

// check asks whether a lease is good in the network where the link is now. Only some servers refuse an address that they
// do not know, so silence is followed by looking for another one; with nobody there, the lease is kept.
func (o *operator) check(ctx context.Context, lease *Lease) (next *Lease, pause time.Duration, err error) {
	ups := o.carrierUps()

	next, err = o.exchange.Confirm(ctx, lease)

	switch {
	case errors.Is(err, ErrRefused):
		return nil, 0, err
	case err == nil:
		next.CarrierUps = ups
		o.log.Info("the carrier came back: DHCP lease confirmed", "lease", next.String())

		return next, 0, nil
	}

	if next, err = o.acquire(ctx); err == nil {
		return next, 0, nil
	}

	kept := *lease
	kept.CarrierUps = ups

	return &kept, 0, fmt.Errorf("keep lease %s, which nobody confirms: %w", lease, err)
}

func (o *operator) extend(ctx context.Context, lease *Lease, now time.Duration) (next *Lease, pause time.Duration, err error) {
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

	next.CarrierUps = lease.CarrierUps
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

// sleeper waits until the time has passed or it is woken.
func sleeper(wake <-chan struct{}) func(context.Context, time.Duration) error {
	return func(ctx context.Context, d time.Duration) error {
		timer := time.NewTimer(d)
		defer timer.Stop()

		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
			return nil
		case <-timer.C:
			return nil
		}
	}
}
