package dhcp

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/dactyl-os/dactyl/services/networkd/internal/memory"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// Leases by link are what is remembered over a restart of the daemon.
type Leases map[string]*Lease

// Operators keeps a lease on each link that is wanted. Its methods may be called at once.
type Operators struct {
	exchange Exchange
	log      *slog.Logger
	changed  chan struct{}
	wake     chan struct{}

	mu     sync.Mutex
	memory *memory.File[Leases]
	wanted map[string]spec.DHCP
	// metrics outlive the wish: what is removed has to be named.
	metrics map[string]uint32
	ended   map[string]spec.Set
}

// New goes on with the leases that are remembered.
func New(exchange Exchange, remembered *memory.File[Leases], log *slog.Logger) *Operators {
	return &Operators{
		exchange: exchange, log: log, memory: remembered,
		changed: make(chan struct{}, 1), wake: make(chan struct{}, 1), metrics: map[string]uint32{}, ended: map[string]spec.Set{},
	}
}

// Changed says that Sets may give others now.
func (o *Operators) Changed() <-chan struct{} { return o.changed }

// Want says which links are to have leases; the others lose theirs.
func (o *Operators) Want(links []spec.DHCP) {
	wanted := make(map[string]spec.DHCP, len(links))
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
		poke(o.wake)
	}
}

// Sets are what the leases of the wanted links ask for, the most wanted last.
func (o *Operators) Sets(links []spec.DHCP) []spec.Set {
	o.mu.Lock()
	defer o.mu.Unlock()

	links = slices.SortedStableFunc(slices.Values(links), func(a, b spec.DHCP) int { return cmp.Compare(b.Metric, a.Metric) })

	var sets []spec.Set

	for _, l := range links {
		if lease := o.memory.Value[l.Link]; lease != nil {
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

	return o.memory.Value[link] != nil
}

// Run keeps the leases until ctx ends.
func (o *Operators) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var running sync.WaitGroup
	defer running.Wait()

	stops, failed := map[string]func(){}, make(chan error, 1)

	for {
		o.adjust(stops, func(link string, lease *Lease) func() {
			own, stop := context.WithCancel(ctx)

			running.Go(func() {
				if err := o.operator(link).run(own, lease); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			})

			return stop
		})

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
func (o *Operators) adjust(stops map[string]func(), start func(string, *Lease) func()) {
	o.mu.Lock()
	defer o.mu.Unlock()

	if o.wanted == nil {
		return // nobody has said yet: what is remembered stays
	}

	for link := range o.wanted {
		if stops[link] == nil {
			stops[link] = start(link, o.memory.Value[link])
		}
	}

	for link, stop := range stops {
		if _, ok := o.wanted[link]; !ok {
			stop()
			delete(stops, link)
		}
	}

	for link := range o.memory.Value {
		if _, ok := o.wanted[link]; !ok {
			o.set(link, nil)
		}
	}
}

func (o *Operators) operator(link string) *operator {
	return &operator{
		exchange: o.exchange, now: Now, wait: sleep, log: o.log, link: link,
		changed: func(lease *Lease) error {
			o.mu.Lock()
			defer o.mu.Unlock()

			// Stopped meanwhile.
			if _, ok := o.wanted[link]; !ok {
				return nil
			}

			return o.set(link, lease)
		},
	}
}

// set replaces the map: memory compares it with the one that was saved.
func (o *Operators) set(link string, lease *Lease) error {
	next := maps.Clone(o.memory.Value)
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

	o.memory.Value = next

	poke(o.changed)

	return o.memory.Save()
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
