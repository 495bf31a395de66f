package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// samples are durations of one kind.
type samples []time.Duration

func (s samples) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))

	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func (s samples) median() time.Duration { return s.quantile(0.5) }

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

// String is the median and the range in milliseconds.
func (s samples) String() string {
	return fmt.Sprintf("%s [%s–%s]", milliseconds(s.median()), milliseconds(slices.Min(s)), milliseconds(slices.Max(s)))
}

// percentiles is p50 / p99 in milliseconds.
func (s samples) percentiles() string {
	return milliseconds(s.median()) + " / " + milliseconds(s.quantile(0.99))
}

// times calls one after another and keeps how long each took, after a few that warm up.
func times(ctx context.Context, n int, call func(context.Context) error) (samples, error) {
	const warm = 50
	var s samples
	for i := range n + min(n, warm) {
		start := time.Now()
		if err := call(ctx); err != nil {
			return nil, err
		}
		if i >= min(n, warm) {
			s = append(s, time.Since(start))
		}
	}

	return s, nil
}

// rate is the calls a second of so many callers over three seconds.
func rate(ctx context.Context, callers int, call func(context.Context) error) (float64, error) {
	const during = 3 * time.Second
	var count atomic.Int64
	var failure error
	var once sync.Once
	var group sync.WaitGroup
	end := time.Now().Add(during)
	for range callers {
		group.Go(func() {
			for time.Now().Before(end) {
				if err := call(ctx); err != nil {
					once.Do(func() { failure = err })

					return
				}
				count.Add(1)
			}
		})
	}
	group.Wait()

	return float64(count.Load()) / during.Seconds(), failure
}
