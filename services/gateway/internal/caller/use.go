package caller

import (
	"sync"
	"time"
)

// farewell is how long a connection that is to go has for what was answered last.
const farewell = time.Second

// Use counts the calls of a connection, which can be given up: it is closed after its last call.
type Use struct {
	close func() error

	mu      sync.Mutex
	calls   int
	retired bool
	closing *time.Timer
}

// NewUse counts the calls of a connection that close closes.
func NewUse(close func() error) *Use { return &Use{close: close} }

// Enter begins a call, Leave ends it.
func (u *Use) Enter() {
	u.mu.Lock()
	defer u.mu.Unlock()

	u.calls++
}

// Leave ends a call.
func (u *Use) Leave() {
	u.mu.Lock()
	defer u.mu.Unlock()

	u.calls--
	u.end()
}

// Retire closes the connection as soon as it has no calls.
func (u *Use) Retire() {
	u.mu.Lock()
	defer u.mu.Unlock()

	u.retired = true
	u.end()
}

// Closed ends what waits for the end of the connection.
func (u *Use) Closed() {
	u.mu.Lock()
	defer u.mu.Unlock()

	if u.closing != nil {
		u.closing.Stop()
	}
}

func (u *Use) end() {
	if !u.retired || u.calls > 0 || u.closing != nil {
		return
	}

	u.closing = time.AfterFunc(farewell, func() { _ = u.close() }) // nobody uses it
}
