package bounds_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/bounds"
)

var small = bounds.Limits{
	Caller:      bounds.Amount{Connections: 2, Calls: 4, Streams: 2, Bytes: 100},
	Node:        bounds.Amount{Connections: 1, Calls: 8, Streams: 4, Bytes: 100},
	Total:       bounds.Amount{Connections: 3, Calls: 9, Streams: 3, Bytes: 150},
	CallerDials: 1, Dials: 1,
}

func connect(t *testing.T, ledger *bounds.Ledger, key string) *bounds.Connection {
	t.Helper()

	account, err := ledger.Connect(key, false)
	if err != nil {
		t.Fatal(err)
	}

	return account
}

func enter(t *testing.T, account *bounds.Connection, targets int, stream bool) *bounds.Call {
	t.Helper()

	call, err := account.Enter(targets, stream)
	if err != nil {
		t.Fatal(err)
	}

	return call
}

func refused(t *testing.T, err error, text string) {
	t.Helper()

	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want ResourceExhausted with %q", err, text)
	}
}

func TestConnections(t *testing.T) {
	ledger := bounds.NewLedger(small)
	first := connect(t, ledger, "one")
	connect(t, ledger, "one")

	_, err := ledger.Connect("one", false)
	refused(t, err, "this caller has as many connections on this node as one may have, 2")

	connect(t, ledger, "two")

	_, err = ledger.Connect("three", false)
	refused(t, err, "this node has as many connections as it takes from all callers, 3")

	first.Disconnect()
	connect(t, ledger, "three")
}

// TestCallsGiveBackAll fills every bound twice.
func TestCallsGiveBackAll(t *testing.T) {
	ledger := bounds.NewLedger(small)
	one, two := connect(t, ledger, "one"), connect(t, ledger, "two")

	for range 2 {
		calls := []*bounds.Call{enter(t, one, 0, true), enter(t, one, 2, true)}

		_, err := one.Enter(0, true)
		refused(t, err, "as many streams on this node as one may have, 2")

		_, err = one.Enter(2, false)
		refused(t, err, "calls in hand")

		calls = append(calls, enter(t, two, 1, true))

		_, err = two.Enter(1, true)
		refused(t, err, "this node has as many streams as it takes from all callers, 3")

		if err := calls[0].Hold(80); err != nil {
			t.Error(err)
		}

		refused(t, calls[1].Hold(21), "bytes of requests and answers in hand on this node as one may have, 100")
		calls[0].Release(30)

		if err := calls[1].Hold(50); err != nil {
			t.Error(err)
		}

		refused(t, calls[2].Hold(51), "as it takes from all callers, 150")

		for _, call := range calls {
			call.Leave()
		}
	}
}

func TestDialsWaitForAPlace(t *testing.T) {
	ledger := bounds.NewLedger(small)
	one, two := connect(t, ledger, "one"), connect(t, ledger, "two")

	release, err := one.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	over, cancel := context.WithCancel(t.Context())
	cancel()

	for range 3 {
		for _, account := range []*bounds.Connection{one, two} {
			if _, err := account.Dial(over); err == nil {
				t.Error("there was no place")
			}
		}
	}

	release()

	if _, err := two.Dial(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAnswersOnTheirWay: what the transport has of a call is in hand after its handler has left, until it is sent or the
// connection ends.
func TestAnswersOnTheirWay(t *testing.T) {
	ledger := bounds.NewLedger(small)
	one := connect(t, ledger, "one")

	for _, end := range []func(sent func()){func(sent func()) { sent() }, func(func()) { one.Disconnect() }} {
		call := enter(t, one, 4, false)

		sent, err := call.Send(100)
		if err != nil {
			t.Fatal(err)
		}

		call.Leave()

		_, err = one.Enter(1, false)
		refused(t, err, "calls in hand")

		end(sent)
		sent()
	}

	// All of it is given back, once.
	next := connect(t, ledger, "one")
	call := enter(t, next, 4, false)

	if err := call.Hold(100); err != nil {
		t.Error(err)
	}

	refused(t, call.Hold(1), "bytes")
}
