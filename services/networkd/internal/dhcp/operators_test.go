package dhcp

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/services/networkd/internal/checkpoint"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// slowServer answers when it is told to, even after nobody listens any more. now and most count those who ask.
type slowServer struct {
	Exchange

	begun, canceled, answer chan struct{}
	now, most               chan int
}

func newSlowServer() *slowServer {
	s := &slowServer{
		begun: make(chan struct{}, 10), canceled: make(chan struct{}, 10), answer: make(chan struct{}),
		now: make(chan int, 1), most: make(chan int, 1),
	}
	s.now <- 0
	s.most <- 0

	return s
}

func (s *slowServer) Acquire(ctx context.Context, _ string) (*Lease, error) {
	now := <-s.now + 1
	s.now <- now
	s.most <- max(<-s.most, now)
	s.begun <- struct{}{}

	select {
	case <-s.answer:
	case <-ctx.Done():
		s.canceled <- struct{}{}
		<-s.answer
	}

	s.now <- <-s.now - 1

	return &Lease{Link: "eth0", Address: netip.MustParsePrefix("10.0.0.2/24"), Renew: forever, Rebind: forever, End: forever}, nil
}

func operators(t *testing.T, path string, exchange Exchange) *Operators {
	t.Helper()

	held, err := checkpoint.Open[Leases](path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}

	return New(exchange, held, slog.New(slog.DiscardHandler))
}

var eth0 = []Wanted{{DHCP: spec.DHCP{Link: "eth0"}}}

// TestOneOperatorOnALink, however quickly it is wanted again.
func TestOneOperatorOnALink(t *testing.T) {
	server := newSlowServer()
	o := operators(t, filepath.Join(t.TempDir(), "leases.json"), server)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)

	o.Want(eth0)

	go func() { ended <- o.Run(ctx) }()

	<-server.begun
	o.Want(nil)
	<-server.canceled
	o.Want(eth0)

	select {
	case <-server.begun:
	case <-time.After(100 * time.Millisecond):
	}

	close(server.answer)
	kittest.Await(t, 5*time.Second, "a lease", func() bool { return o.Holds("eth0") })
	cancel()

	if err := <-ended; err != nil {
		t.Error(err)
	}

	if most := <-server.most; most != 1 {
		t.Errorf("%d operators were at work at the same time", most)
	}
}

// TestLostLeaseIsPersistedOrTold: a lease that comes back with the next start of the daemon would be wrong.
func TestLostLeaseIsPersistedOrTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "leases.json")
	o := operators(t, path, nil)

	if err := o.set("eth0", &Lease{Link: "eth0", Address: netip.MustParsePrefix("10.0.0.2/24")}); err != nil {
		t.Fatal(err)
	}

	if err := os.Mkdir(path+".next", 0o700); err != nil { // nothing can be written
		t.Fatal(err)
	}

	o.Want(nil)

	if err := o.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "leases.json") {
		t.Errorf("got %v", err)
	}
}
