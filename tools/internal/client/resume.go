package client

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/kit/backoff"
)

// Again calls a stream again after the gateway or a daemon went away, until it
// ends in another way. stream starts where its last call stopped and says
// whether it received anything.
func Again(ctx context.Context, stream func() (received bool, err error)) error {
	const tries = 20

	retry := backoff.Backoff{First: 50 * time.Millisecond, Most: time.Second}
	answered := false

	for left := tries; ; {
		received, err := stream()
		// Who has answered once may be restarting; who never did and cannot be reached will not be soon.
		if answered = answered || received; err == nil || status.Code(err) != codes.Unavailable || !answered && !heals(err) {
			return err
		}

		if received {
			left = tries

			retry.Reset()
		}

		if left--; left == 0 {
			return err
		}

		if !retry.Sleep(ctx) {
			return nil
		}
	}
}
