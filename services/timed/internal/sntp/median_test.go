package sntp

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	at := func(offset, roundTrip time.Duration) Answer { return Answer{Offset: offset, RoundTrip: roundTrip} }

	for want, answers := range map[time.Duration][]Answer{
		1: {at(1, 9)},
		2: {at(3, 1), at(2, 5), at(-100, 1)},
		4: {at(4, 1), at(3, 2)},
		5: {at(5, 1), at(900, 1), at(6, 3), at(-900, 1)},
	} {
		if got := median(answers); got.Offset != want {
			t.Errorf("median of %v is %d, want %d", answers, got.Offset, want)
		}
	}
}
