// Package poke wakes a loop that does something else at the moment.
package poke

// Chan is what the loop receives from. Many pokes before it does are one.
type Chan chan struct{}

// New makes one.
func New() Chan { return make(Chan, 1) }

// Poke wakes the loop, now or when it comes back.
func (c Chan) Poke() {
	select {
	case c <- struct{}{}:
	default:
	}
}
