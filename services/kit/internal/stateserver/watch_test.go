package stateserver_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/services/kit/internal/catalog"
	"github.com/dactyl-os/dactyl/services/kit/internal/stateserver"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
)

// slowStream is a client whose second message, the first with events, stands until it is released.
type slowStream struct {
	grpc.ServerStream

	ctx      context.Context
	sent     atomic.Int32
	standing chan struct{}
	release  chan struct{}
}

func (s *slowStream) Context() context.Context { return s.ctx }

func (s *slowStream) SendMsg(any) error {
	if s.sent.Add(1) == 2 {
		close(s.standing)
		<-s.release
	}

	return nil
}

// TestWatchEndsAfterItsLastMessage: gRPC forbids to send on a stream whose handler has returned.
func TestWatchEndsAfterItsLastMessage(t *testing.T) {
	testdaemon.Register()

	stopping := make(chan struct{})
	s := stateserver.New()
	s.Lookup = func(string) (catalog.Definition, bool) { return catalog.Definition{}, false }
	s.Stopping = stopping

	st := state.WrapCore(s.Store())
	if err := st.Create(t.Context(), testdaemon.NewItem(testdaemon.ItemType, "x", "1")); err != nil {
		t.Fatal(err)
	}

	stream := &slowStream{ctx: t.Context(), standing: make(chan struct{}), release: make(chan struct{})}
	returned := make(chan error, 1)

	go func() {
		returned <- s.Watch(&v1alpha1.WatchRequest{
			Namespace: testdaemon.Namespace, Type: testdaemon.ItemType, ApiVersion: 1,
			Options: &v1alpha1.WatchOptions{BootstrapContents: true},
		}, stream)
	}()

	<-stream.standing
	close(stopping)

	// Events go on coming meanwhile; none is lost for want of a reader.
	for _, id := range []string{"y", "z"} {
		if err := st.Create(t.Context(), testdaemon.NewItem(testdaemon.ItemType, id, "1")); err != nil {
			t.Fatal(err)
		}
	}

	select {
	case err := <-returned:
		t.Fatalf("it returned with a message under way: %v", err)
	case <-time.After(100 * time.Millisecond): // a slow machine only finds less
	}

	close(stream.release)

	if err := <-returned; err == nil {
		t.Error("a watch of a daemon that stops ended well")
	}
}
