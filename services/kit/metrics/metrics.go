// Package metrics are figures of a daemon in the terms of Prometheus: counted without a library, told when somebody asks.
package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"
)

// Gauge makes a family of values that go up and down.
func Gauge(name, help string, samples ...*kitv1.Sample) *kitv1.Family {
	return &kitv1.Family{Name: name, Help: help, Samples: samples}
}

// Counter makes a family of values that only grow while the daemon runs.
func Counter(name, help string, samples ...*kitv1.Sample) *kitv1.Family {
	return &kitv1.Family{Name: name, Help: help, Counter: true, Samples: samples}
}

// Value makes a sample; labels are names and values in turn.
func Value[T int | int64 | uint64 | float64](value T, labels ...string) *kitv1.Sample {
	return &kitv1.Sample{Value: float64(value), Labels: labels}
}

// Calls counts calls by method and code. The zero value is ready; methods must be from a bounded set.
type Calls struct {
	mu     sync.RWMutex
	counts map[call]*atomic.Uint64
}

type call struct {
	method string
	code   codes.Code
}

// Count adds a call that ended with err.
func (c *Calls) Count(method string, err error) {
	key := call{method, status.Code(err)}

	c.mu.RLock()
	count, ok := c.counts[key]
	c.mu.RUnlock()

	if !ok {
		count = c.add(key)
	}

	count.Add(1)
}

func (c *Calls) add(key call) *atomic.Uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.counts == nil {
		c.counts = map[call]*atomic.Uint64{}
	}

	if c.counts[key] == nil {
		c.counts[key] = &atomic.Uint64{}
	}

	return c.counts[key]
}

// Family tells the counts.
func (c *Calls) Family(name, help string) *kitv1.Family {
	c.mu.RLock()
	defer c.mu.RUnlock()

	family := Counter(name, help)
	for _, key := range slices.SortedFunc(maps.Keys(c.counts), func(a, b call) int {
		return strings.Compare(a.method+a.code.String(), b.method+b.code.String())
	}) {
		family.Samples = append(family.Samples, Value(c.counts[key].Load(), "method", key.method, "code", key.code.String()))
	}

	return family
}
