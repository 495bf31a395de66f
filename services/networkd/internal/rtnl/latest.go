package rtnl

import "sync"

// latest is the snapshot that was taken last, as long as nothing has changed since.
type latest struct {
	taking sync.Mutex // one snapshot at a time: who comes meanwhile gets the same

	mu      sync.Mutex
	changes uint64
	has     *Snapshot
	heard   func() bool // takes what the kernel has told until now; nil: nobody listens
	changed func()
}

// Latest gives the network state as of the kernel's last word: by a new snapshot when something changed since the last one, and
// always without a monitor. Nobody changes what it gives.
func (c *Conn) Latest() (Snapshot, error) {
	c.latest.taking.Lock()
	defer c.latest.taking.Unlock()

	at, known := c.latest.state()
	if known != nil {
		return *known, nil
	}

	return c.take(at)
}

// Applied is Latest after operations of our own: what the kernel told of them until it answered is in the snapshot that begins now, so
// that nobody takes another one when the monitor would have heard.
func (c *Conn) Applied() (Snapshot, error) {
	l := &c.latest

	l.taking.Lock()
	defer l.taking.Unlock()

	l.drop()

	defer l.catchUp()()

	at, _ := l.state()

	return c.take(at)
}

// take a snapshot, which stays the latest unless something has changed since at.
func (c *Conn) take(at uint64) (Snapshot, error) {
	s, err := c.Snapshot()
	if err != nil {
		return s, err
	}

	c.latest.mu.Lock()
	defer c.latest.mu.Unlock()

	if c.latest.changes == at && c.latest.heard != nil {
		c.latest.has = &s
	}

	return s, nil
}

func (l *latest) state() (changes uint64, has *Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.changes, l.has
}

// drop says that something has changed.
func (l *latest) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	l.has = nil
}

// listen names who hears of the kernel's changes; without one no snapshot is the latest for long.
func (l *latest) listen(heard func() bool, changed func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	l.has, l.heard, l.changed = nil, heard, changed
}

// catchUp takes what the listener has not heard yet, and wakes it when the snapshot is there that knows of it.
func (l *latest) catchUp() (wake func()) {
	l.mu.Lock()
	heard, changed := l.heard, l.changed
	l.mu.Unlock()

	if heard != nil && heard() {
		return changed
	}

	return func() {}
}
