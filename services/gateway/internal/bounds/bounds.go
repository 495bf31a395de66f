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
// the gateway stays 64 MiB above its idle size, and 512 watches are 14 MiB at their owner. What is remembered for watches is counted
// in full, what waits for a reader with what the transports keep before and behind it.
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

// Connection is one of a caller's, with what was called on it.
type Connection struct {
	*Account

	held   Amount
	closed bool
}

// Connect counts a connection of the caller with the given key, which the caller cannot choose freely; Disconnect ends it.
func (l *Ledger) Connect(key string, node bool) (*Connection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	account, ok := l.accounts[key]
	if !ok {
		account = &Account{ledger: l, key: key, limit: l.limits.Caller, dials: make(chan struct{}, l.limits.CallerDials)}
		if node {
			account.limit = l.limits.Node
		}
	}

	connection := &Connection{Account: account}
	if err := connection.take(Amount{Connections: 1}); err != nil {
		return nil, err
	}

	l.accounts[key] = account

	return connection, nil
}

// Disconnect ends a connection, and with it what its calls have in hand: they are on their way out.
func (c *Connection) Disconnect() {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()

	c.give(c.held)
	c.closed = true

	if c.used.Connections == 0 {
		delete(c.ledger.accounts, c.key)
	}
}

// Call counts what one call has in hand, until its handler has left and the transport has nothing of its answer any more.
type Call struct {
	connection *Connection
	held       Amount
	// users are the handler and the messages that the transport has.
	users int
}

// Enter counts a call to so many targets, or says which bound it would break. Leave ends it.
func (c *Connection) Enter(targets int, stream bool) (*Call, error) {
	amount := Amount{Calls: max(1, targets)}
	if stream {
		amount.Streams = 1
	}

	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()

	if err := c.take(amount); err != nil {
		return nil, err
	}

	return &Call{connection: c, held: amount, users: 1}, nil
}

// Hold counts bytes that begin to wait in the gateway.
func (c *Call) Hold(size int) error { return c.more(Amount{Bytes: size}, 0) }

// Release ends what Hold began.
func (c *Call) Release(size int) { c.less(Amount{Bytes: size}) }

// Remember counts bytes that are kept as long as the call goes on, or gives some back; false when they are too many.
func (c *Call) Remember(size int) bool {
	if size < 0 {
		c.less(Amount{Remembered: -size})

		return true
	}

	return c.more(Amount{Remembered: size}, 0) == nil
}

// Send counts a message that the transport gets: it is in hand, and the call with it, until sent is called. Once more does nothing.
func (c *Call) Send(size int) (sent func(), err error) {
	if err := c.more(Amount{Bytes: size}, 1); err != nil {
		return nil, err
	}

	gone := false

	return func() {
		c.connection.ledger.mu.Lock()
		defer c.connection.ledger.mu.Unlock()

		if !gone {
			gone = true

			c.back(Amount{Bytes: size})
			c.leave()
		}
	}, nil
}

// Leave gives back everything that the call has in hand, when the transport has nothing of it any more.
func (c *Call) Leave() {
	c.connection.ledger.mu.Lock()
	defer c.connection.ledger.mu.Unlock()

	c.leave()
}

func (c *Call) leave() {
	if c.users--; c.users == 0 {
		c.back(c.held)
	}
}

func (c *Call) more(amount Amount, users int) error {
	c.connection.ledger.mu.Lock()
	defer c.connection.ledger.mu.Unlock()

	if err := c.connection.take(amount); err != nil {
		return err
	}

	c.held = c.held.plus(amount)
	c.users += users

	return nil
}

func (c *Call) less(amount Amount) {
	c.connection.ledger.mu.Lock()
	defer c.connection.ledger.mu.Unlock()

	c.back(amount)
}

func (c *Call) back(amount Amount) {
	c.connection.give(amount)
	c.held = c.held.plus(amount.times(-1))
}

// take adds the amount unless that breaks a bound of the account or of all, or the connection has ended. The ledger is locked.
func (c *Connection) take(more Amount) error {
	if c.closed {
		return status.Error(codes.Canceled, "the connection has ended")
	}

	if what, bound := c.used.beyond(more, c.limit); what != "" {
		return status.Errorf(codes.ResourceExhausted, "this caller has as many %s on this node as one may have, %d: wait, or end some", what, bound)
	}

	if what, bound := c.ledger.total.beyond(more, c.ledger.limits.Total); what != "" {
		return status.Errorf(codes.ResourceExhausted, "this node has as many %s as it takes from all callers, %d: try again later", what, bound)
	}

	c.add(more)

	return nil
}

// give takes the amount back; what a connection had that has ended is given back already.
func (c *Connection) give(amount Amount) {
	if !c.closed {
		c.add(amount.times(-1))
	}
}

func (c *Connection) add(more Amount) {
	c.held = c.held.plus(more)
	c.used = c.used.plus(more)
	c.ledger.total = c.ledger.total.plus(more)
}

func (a Amount) times(n int) Amount {
	return Amount{
		Connections: n * a.Connections, Calls: n * a.Calls, Streams: n * a.Streams, Bytes: n * a.Bytes, Remembered: n * a.Remembered,
	}
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
