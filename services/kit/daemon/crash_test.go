package daemon_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	timeapi "github.com/dactyl-os/dactyl/proto/time"

	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestNoCallFailsOverCrashes kills the daemon under calls. The socket is held as init holds it, so a call waits or is sent
// again; a resource that was there is found again, and lists are never short.
func TestNoCallFailsOverCrashes(t *testing.T) {
	run := t.TempDir()

	own, err := net.Listen("unix", filepath.Join(run, "testdaemon.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()

	file, err := own.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}

	d := kittest.Start(t, pkg, kittest.Options{
		RunDir: run, Files: []*os.File{file}, Env: []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=testdaemon", "TEST_ITEMS=50"},
	})
	api, st := timeapi.NewTimeServiceClient(d.Conn()), stateOf(d.Conn())

	kittest.Await(t, 5*time.Second, "50 items", func() bool {
		list, err := st.List(t.Context(), pointer(testdaemon.ItemType, ""))

		return err == nil && len(list.Items) == 50
	})

	ctx, stop := context.WithCancel(t.Context())
	defer stop()

	var (
		wait  sync.WaitGroup
		calls [3]atomic.Int64
	)

	for i, call := range []func() error{
		func() error {
			_, err := api.Time(t.Context(), &emptypb.Empty{})

			return err
		},
		func() error {
			_, err := st.Get(t.Context(), pointer(testdaemon.ItemType, "item-049"))

			return err
		},
		func() error {
			list, err := st.List(t.Context(), pointer(testdaemon.ItemType, ""))
			if err == nil && len(list.Items) != 50 {
				t.Errorf("a list of %d items", len(list.Items))
			}

			return err
		},
	} {
		wait.Go(func() {
			for ; ctx.Err() == nil; calls[i].Add(1) {
				if err := call(); err != nil {
					t.Errorf("call %d of kind %d: %v", calls[i].Load(), i, err)
				}
			}
		})
	}

	for range 10 {
		d.Restart()
		// Every caller is served once and has its next call under way: a retry gives up after some crashes, not after some time.
		for i := range calls {
			served := calls[i].Load()
			kittest.Await(t, time.Minute, "a call served after the crash", func() bool { return calls[i].Load() > served })
		}
	}

	stop()
	wait.Wait()
	t.Logf("%d, %d and %d calls over 10 crashes", calls[0].Load(), calls[1].Load(), calls[2].Load())
}
