package sntp

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// atOnce is how many servers are asked at the same time. The others are spare.
	atOnce = 5
	// linger is how long those that are slow are waited for once most have answered.
	linger = 300 * time.Millisecond
)

// Several asks the servers at the same time and gives the answer that most of them are around: one that is wrong by an hour,
// or lies, does not move the clock when there are two others.
func Several(ctx context.Context, servers []string) (Answer, error) {
	if len(servers) == 0 {
		return Answer{}, errors.New("no time servers are configured")
	}

	var errs []error

	for group := range slices.Chunk(servers, atOnce) {
		answers, err := ask(ctx, group)
		if len(answers) > 0 {
			return median(answers), nil
		}

		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}

	return Answer{}, errors.Join(errs...)
}

// ask gives the answers that came in time, and the errors joined.
func ask(ctx context.Context, servers []string) ([]Answer, error) {
	type result struct {
		answer Answer
		err    error
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	results := make(chan result, len(servers))

	for _, server := range servers {
		go func() {
			answer, err := Ask(ctx, server)
			results <- result{answer, err}
		}()
	}

	var (
		answers []Answer
		errs    []error
		enough  <-chan time.Time
	)

	for len(answers)+len(errs) < len(servers) {
		select {
		case r := <-results:
			if r.err != nil {
				errs = append(errs, r.err)

				continue
			}

			if answers = append(answers, r.answer); enough == nil && 2*len(answers) > len(servers) {
				enough = time.After(linger)
			}
		case <-enough:
			return answers, nil
		}
	}

	return answers, errors.Join(errs...)
}

// median goes by the offset. Of two in the middle, the one that took less time is nearer to the truth.
func median(answers []Answer) Answer {
	answers = slices.SortedFunc(slices.Values(answers), func(a, b Answer) int { return cmp.Compare(a.Offset, b.Offset) })
	low, high := answers[(len(answers)-1)/2], answers[len(answers)/2]

	if high.RoundTrip < low.RoundTrip {
		return high
	}

	return low
}
