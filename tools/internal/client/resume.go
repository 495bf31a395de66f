package client

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Again calls a stream again after the gateway or a daemon went away, until it
// ends in another way. stream starts where its last call stopped and says
// whether it received anything.
func Again(ctx context.Context, stream func() (received bool, err error)) error {
	const tries = 20
	delay := 50 * time.Millisecond
	for left := tries; ; {
		received, err := stream()
		if err == nil || status.Code(err) != codes.Unavailable {
			return err
		}
		if received {
			left, delay = tries, 50*time.Millisecond
		}
		if left--; left == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
			delay = min(2*delay, time.Second)
		}
	}
}
