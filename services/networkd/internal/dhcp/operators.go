package dhcp

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/dactyl-os/dactyl/services/kit/poke"
	"github.com/dactyl-os/dactyl/services/networkd/internal/checkpoint"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// Leases by link are what is remembered over a restart of the daemon.
type Leases map[string]*Lease

// Wanted is a link that is to have a lease.
type Wanted struct {
	spec.DHCP
	// CarrierUps is how often the link's other end has come; a lease is checked when it came again.
	CarrierUps uint32
}

// Operators keeps a lease on each link that is wanted. Its methods may be called at once.
type Operators struct {
	exchange Exchange
	log      *slog.Logger
	changed  poke.Chan
	wake     poke.Chan

	mu         sync.Mutex
	checkpoint *checkpoint.File[Leases]
	wanted     map[string]Wanted
	// metrics outlive the wish: what is removed has to be named.
	metrics map[string]uint32
	ended   map[string]spec.Set
}

// New goes on with the leases that are remembered.
func New(exchange Exchange, remembered *checkpoint.File[Leases], log *slog.Logger) *Operators {
	return &Operators{
		exchange: exchange, log: log, checkpoint: remembered,
		changed: poke.New(), wake: poke.New(), metrics: map[string]uint32{}, ended: map[string]spec.Set{},
	}
}

// Changed says that Sets may give others now.
func (o *Operators) Changed() <-chan struct{} { return o.changed }

// Want says which links are to have leases; the others lose theirs.
func (o *Operators) Want(links []Wanted) {
	wanted := make(map[string]Wanted, len(links))
	for _, l := range links {
		wanted[l.Link] = l
	}

	o.mu.Lock()
	same := o.wanted != nil && maps.Equal(wanted, o.wanted)
	o.wanted = wanted

	for _, l := range links {
		o.metrics[l.Link] = l.Metric
	}

	o.mu.Unlock()

	if !same {
		o.wake.Poke()
	}
}

// Sets are what the leases of the wanted links ask for, the most wanted last.
func (o *Operators) Sets(links []spec.DHCP) []spec.Set {
	o.mu.Lock()
	defer o.mu.Unlock()

	links = slices.SortedStableFunc(slices.Values(links), func(a, b spec.DHCP) int { return cmp.Compare(b.Metric, a.Metric) })

	var sets []spec.Set

	for _, l := range links {
		if lease := o.checkpoint.Value[l.Link]; lease != nil {
			sets = append(sets, lease.Set(l.Metric))
		}
	}

	return sets
}

// Ended are what leases asked for that are no more: no configuration can want that again.
func (o *Operators) Ended() []spec.Set {
	o.mu.Lock()
	defer o.mu.Unlock()

	return slices.Collect(maps.Values(o.ended))
}

// Holds says that the link has a lease.
func (o *Operators) Holds(link string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()

	return o.checkpoint.Value[link] != nil
}

// running is an operator at work.
type running struct {
	cancel context.CancelFunc
	wake   poke.Chan
	ended  chan struct{}
}

// stop returns when the exchange has ended: two operators on one link would both set its lease.
func (r running) stop() {
	r.cancel()
	<-r.ended
}

// Run keeps the leases until ctx ends.
func (o *Operators) Run(ctx context.Context) error {
	at, failed := map[string]running{}, make(chan error, 1)

	defer func() {
		for _, r := range at {
			r.stop()
		}
	}()

	for {
		if err := o.adjust(ctx, at, failed); err != nil {
			return err
		}

		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-o.wake:
		}
	}
}

// adjust starts and stops operators as is wanted.
func (o *Operators) adjust(ctx context.Context, at map[string]running, failed chan<- error) error {
	wanted := o.wish()
	if wanted == nil {
		return nil // nobody has said yet: what is remembered stays
	}

	for link, r := range at {
		if _, ok := wanted[link]; !ok {
			r.stop()
			delete(at, link)
		}
	}

	if err := o.forget(wanted); err != nil {
		return err
	}

	for link := range wanted {
		if r, ok := at[link]; ok {
			r.wake.Poke()
		} else {
			at[link] = o.start(ctx, link, failed)
		}
	}

	return nil
}

func (o *Operators) wish() map[string]Wanted {
	o.mu.Lock()
	defer o.mu.Unlock()

	return o.wanted
}

// forget drops the leases of the links that are not wanted.
func (o *Operators) forget(wanted map[string]Wanted) error {
	o.mu.Lock()
	defer o.mu.Unlock()

	for link := range o.checkpoint.Value {
		if _, ok := wanted[link]; !ok {
			if err := o.set(link, nil); err != nil {
				return err
			}
		}
	}

	return nil
}

func (o *Operators) start(ctx context.Context, link string, failed chan<- error) running {
	ctx, cancel := context.WithCancel(ctx)
	r := running{cancel: cancel, wake: poke.New(), ended: make(chan struct{})}

	o.mu.Lock()
	lease := o.checkpoint.Value[link]
	o.mu.Unlock()

	go func() {
		defer close(r.ended)

		if err := o.operator(link, r.wake).run(ctx, lease); err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}()

	return r
}

func (o *Operators) operator(link string, wake <-chan struct{}) *operator {
	return &operator{
		exchange: o.exchange, now: Now, wait: sleeper(wake), log: o.log, link: link,
		carrierUps: func() uint32 { return o.wish()[link].CarrierUps },
		changed: func(lease *Lease) error {
			o.mu.Lock()
			defer o.mu.Unlock()

			return o.set(link, lease)
		},
	}
}

// set replaces the map: the checkpoint compares it with the one that was saved.
func (o *Operators) set(link string, lease *Lease) error {
	next := maps.Clone(o.checkpoint.Value)
	if next == nil {
		next = Leases{}
	}

	if old := next[link]; old != nil && (lease == nil || lease.Address != old.Address) {
		o.ended[link] = old.Set(o.metrics[link])
	}

	if lease == nil {
		delete(next, link)
	} else {
		next[link] = lease
	}

	o.checkpoint.Value = next

	o.changed.Poke()

	return o.checkpoint.Save()
}
