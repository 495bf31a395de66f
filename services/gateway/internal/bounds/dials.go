package bounds

import "context"

// Dial waits for one of the caller's places, and of all callers', for making a connection; release gives it back.
func (a *Account) Dial(ctx context.Context) (release func(), err error) {
	for _, places := range []chan struct{}{a.dials, a.ledger.dials} {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			if places == a.ledger.dials {
				<-a.dials
			}

			return nil, ctx.Err()
		}
	}

	return func() {
		<-a.ledger.dials
		<-a.dials
	}, nil
}
