// Package bounds counts what callers have in hand at the public endpoint, so that no caller, and not all of them together,
// can make the gateway or the daemons behind it grow without limit.
package bounds

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Amount is what one caller, or all together, may have in hand or have in hand.
type Amount struct {
	Connections int
	// Calls counts a call once for each of its targets.
	Calls int
	// Streams are calls that go on: watches, logs, events.
	Streams int
	// Bytes are requests and answers that wait in the gateway.
	Bytes int
	// Remembered are bytes of what watchers were told, for watches that go on over the restart of an owner.
	Remembered int
}

// Limits are the bounds by kind of caller and of all together.
type Limits struct {
	// Caller is for one client certificate, or one address in maintenance mode.
	Caller Amount
	// Node is for the gateway of another node, which speaks for many callers.
	Node Amount
	// Total is for all of them.
	Total Amount
	// Dials are the connections to other nodes that are being made: of one caller, and of all.
	CallerDials, Dials int
}

// Default are the limits of a node. A connection costs 40 KiB, a stream 50 KiB with what waits in it: with the bytes in hand
// the gateway stays 64 MiB above its idle size, and 512 watches are 14 MiB at their owner.
var Default = Limits{
	Caller:      Amount{Connections: 128, Calls: 1024, Streams: 128, Bytes: 8 << 20, Remembered: 2 << 20},
	Node:        Amount{Connections: 32, Calls: 1024, Streams: 256, Bytes: 8 << 20, Remembered: 2 << 20},
	Total:       Amount{Connections: 384, Calls: 2048, Streams: 512, Bytes: 16 << 20, Remembered: 6 << 20},
	CallerDials: 64, Dials: 128,
}

// Ledger counts what all callers have in hand.
type Ledger struct {
	limits Limits
	dials  chan struct{}

	mu       sync.Mutex
	total    Amount
	accounts map[string]*Account
}

// NewLedger makes an empty ledger.
func NewLedger(limits Limits) *Ledger {
	return &Ledger{limits: limits, dials: make(chan struct{}, limits.Dials), accounts: map[string]*Account{}}
}

// Account is what one caller has in hand. It lives as long as the caller has a connection.
type Account struct {
	ledger *Ledger
	key    string
	limit  Amount
	used   Amount
	dials  chan struct{}
}

// Connect counts a connection of the caller with the given key, which the caller cannot choose freely; Disconnect ends it.
func (l *Ledger) Connect(key string, node bool) (*Account, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	account, ok := l.accounts[key]
	if !ok {
		account = &Account{ledger: l, key: key, limit: l.limits.Caller, dials: make(chan struct{}, l.limits.CallerDials)}
		if node {
			account.limit = l.limits.Node
		}
	}

	if err := account.take(Amount{Connections: 1}); err != nil {
		return nil, err
	}

	l.accounts[key] = account

	return account, nil
}

// Disconnect ends a connection. Its calls may still be on their way out.
func (a *Account) Disconnect() {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()

	a.add(Amount{Connections: -1})

	if a.used.Connections == 0 {
		delete(a.ledger.accounts, a.key)
	}
}

// Call counts what one call has in hand. It is used by one goroutine at a time, but for Hold and Release.
type Call struct {
	account *Account
	held    Amount
}

// Enter counts a call to so many targets, or says which bound it would break. Leave ends it.
func (a *Account) Enter(targets int, stream bool) (*Call, error) {
	amount := Amount{Calls: max(1, targets)}
	if stream {
		amount.Streams = 1
	}

	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()

	if err := a.take(amount); err != nil {
		return nil, err
	}

	return &Call{account: a, held: amount}, nil
}

// Hold counts bytes that begin to wait in the gateway.
func (c *Call) Hold(size int) error {
	c.account.ledger.mu.Lock()
	defer c.account.ledger.mu.Unlock()

	if err := c.account.take(Amount{Bytes: size}); err != nil {
		return err
	}

	c.held.Bytes += size

	return nil
}

// Release ends what Hold began.
func (c *Call) Release(size int) {
	c.account.ledger.mu.Lock()
	defer c.account.ledger.mu.Unlock()

	c.account.add(Amount{Bytes: -size})
	c.held.Bytes -= size
}

// Remember counts bytes that are kept as long as the call goes on, or gives some back; false when they are too many.
func (c *Call) Remember(size int) bool {
	c.account.ledger.mu.Lock()
	defer c.account.ledger.mu.Unlock()

	if size < 0 {
		c.account.add(Amount{Remembered: size})
	} else if c.account.take(Amount{Remembered: size}) != nil {
		return false
	}

	c.held.Remembered += size

	return true
}

// Leave gives back everything that the call has in hand.
func (c *Call) Leave() {
	c.account.ledger.mu.Lock()
	defer c.account.ledger.mu.Unlock()

	c.account.add(Amount{Calls: -c.held.Calls, Streams: -c.held.Streams, Bytes: -c.held.Bytes, Remembered: -c.held.Remembered})
	c.held = Amount{}
}

// take adds the amount unless that breaks a bound of the account or of all. The ledger is locked.
func (a *Account) take(more Amount) error {
	if what, bound := a.used.beyond(more, a.limit); what != "" {
		return status.Errorf(codes.ResourceExhausted, "this caller has as many %s on this node as one may have, %d: wait, or end some", what, bound)
	}

	if what, bound := a.ledger.total.beyond(more, a.ledger.limits.Total); what != "" {
		return status.Errorf(codes.ResourceExhausted, "this node has as many %s as it takes from all callers, %d: try again later", what, bound)
	}

	a.add(more)

	return nil
}

func (a *Account) add(more Amount) {
	a.used = a.used.plus(more)
	a.ledger.total = a.ledger.total.plus(more)
}

func (a Amount) plus(b Amount) Amount {
	return Amount{
		Connections: a.Connections + b.Connections, Calls: a.Calls + b.Calls, Streams: a.Streams + b.Streams, Bytes: a.Bytes + b.Bytes,
		Remembered: a.Remembered + b.Remembered,
	}
}

// beyond names the first bound that more would break, and the bound; "" is none.
func (a Amount) beyond(more, limit Amount) (what string, bound int) {
	sum := a.plus(more)

	switch {
	case more.Connections > 0 && sum.Connections > limit.Connections:
		return "connections", limit.Connections
	case more.Streams > 0 && sum.Streams > limit.Streams:
		return "streams", limit.Streams
	case more.Calls > 0 && sum.Calls > limit.Calls:
		return "calls in hand", limit.Calls
	case more.Bytes > 0 && sum.Bytes > limit.Bytes:
		return "bytes of requests and answers in hand", limit.Bytes
	case more.Remembered > 0 && sum.Remembered > limit.Remembered:
		return "bytes remembered for watches", limit.Remembered
	default:
		return "", 0
	}
}
