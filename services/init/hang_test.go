package initd_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestAHungDaemonIsShownAndRestarted freezes one: its call waits, and is answered by the next process.
func TestAHungDaemonIsShownAndRestarted(t *testing.T) {
	m := newMachine(t)
	m.fake("a", "serve", "hang: 8s\nstop: 1s\n")
	m.boot()
	m.await("a", "Running")
	kittest.Await(t, 10*time.Second, "health is known", func() bool { return m.service("a").GetHealth().GetHealthy() })

	frozen := m.hostPID("a")
	kittest.Freeze(t, frozen)

	answered := make(chan error, 1)
	client := machine.NewMachineServiceClient(m.dial("a"))

	go func() {
		_, err := client.Version(t.Context(), &emptypb.Empty{})
		answered <- err
	}()

	kittest.Await(t, 15*time.Second, "it is shown as not healthy", func() bool {
		health := m.service("a").GetHealth()

		return !health.GetUnknown() && !health.GetHealthy()
	})
	m.awaitMessage("a", "Health check failed: no answer within 4s")
	m.awaitMessage("a", "was ended (killed), restarting at once")

	if err := <-answered; err != nil {
		t.Errorf("the call that waited: %v", err)
	}

	kittest.Await(t, 10*time.Second, "health is back", func() bool { return m.service("a").GetHealth().GetHealthy() })

	if now := m.hostPID("a"); now == frozen {
		t.Errorf("PID %d goes on", frozen)
	}
}
