package initd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// keep is a daemon that leaves the reading end of a FIFO with init, and something that its manifest does not name.
func keep(env *daemon.Env) error {
	fifo := env.Path("fifo")

	file, had := env.Kept("fifo")
	env.Log.Info("kept", "had", had)

	if _, err := os.Stat(env.Path("drop")); err == nil {
		return errors.Join(file.Close(), env.DropFD("fifo"))
	}

	if had {
		env.Go("read", func(context.Context) error {
			text := make([]byte, 16)
			n, err := file.Read(text)
			env.Log.Info("read", "text", string(text[:n]), "error", err)

			return nil
		})

		return nil
	}

	file, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}

	null, err := os.Open(os.DevNull)

	return errors.Join(err, env.KeepFD("fifo", file), env.KeepFD("other", null))
}

// TestDescriptorsOutliveADaemon: what was written while nobody ran is read by the next process.
func TestDescriptorsOutliveADaemon(t *testing.T) {
	m := newMachine(t)

	fifo := filepath.Join(m.root, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}

	m.fake("a", "keep", "keep: [fifo]\n")
	m.boot()
	m.await("a", "Running")

	// It opens only while somebody has the other end.
	writer, err := os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}

	for round := range 3 {
		if _, err := m.ServiceStop(t.Context(), &machine.ServiceStopRequest{Id: "a"}); err != nil {
			t.Fatal(err)
		}

		m.await("a", "Finished")

		if _, err := fmt.Fprintf(writer, "round %d", round); err != nil {
			t.Fatalf("nobody has the other end: %v", err)
		}

		if _, err := m.ServiceStart(t.Context(), &machine.ServiceStartRequest{Id: "a"}); err != nil {
			t.Fatal(err)
		}

		m.await("a", "Running")
		m.awaitLog("a", fmt.Sprintf(`msg=read text="round %d" error=<nil>`, round))
		m.kill("a")
		m.await("a", "Running")
	}

	m.has("drop", true)
	m.kill("a")
	m.await("a", "Running")
	kittest.Await(t, 10*time.Second, "the other end is closed", func() bool {
		_, err := writer.Write([]byte("x"))

		return errors.Is(err, syscall.EPIPE)
	})

	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
}

func (m *machineUnderTest) awaitLog(id, want string) {
	m.t.Helper()
	kittest.AwaitNoError(m.t, 10*time.Second, func() error {
		logs, err := m.Logs(m.t.Context(), &machine.LogsRequest{Id: id, TailLines: -1})
		if err != nil {
			return err
		}

		var all strings.Builder

		for {
			data, err := logs.Recv()
			if err != nil {
				break
			}

			all.Write(data.GetBytes())
		}

		if !strings.Contains(all.String(), want) {
			return fmt.Errorf("%s lacks %q:\n%s", id, want, all.String())
		}

		return nil
	})
}
