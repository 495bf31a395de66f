package kmsg_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/hostd/internal/kmsg"
	kernel "github.com/dactyl-os/dactyl/services/kit/kmsg"
)

func TestFormat(t *testing.T) {
	boot := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)

	for record, want := range map[string]string{
		"6,339,5140900,-;NET: Registered PF_INET6\n":              "kern:    info: [2024-01-02T03:04:10.1409Z]: NET: Registered PF_INET6\n",
		"30,340,5690716,-;udevd[80]: starting\n SUBSYSTEM=acpi\n": "daemon:    info: [2024-01-02T03:04:10.690716Z]: udevd[80]: starting\n",
		"4,1,0,c;part":       "kern: warning: [2024-01-02T03:04:05Z]: part\n",
		"no record":          "no record",
		"x,1,2;bad priority": "x,1,2;bad priority",
	} {
		if got := kmsg.Format(record, boot); got != want {
			t.Errorf("%q:\ngot  %q\nwant %q", record, got, want)
		}
	}
}

func TestRead(t *testing.T) {
	// A pipe stands for the device: one record a read.
	path := filepath.Join(t.TempDir(), "kmsg")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}

	fd, err := unix.Open(path, unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	lines := make(chan string)
	done := make(chan error, 1)

	go func() {
		done <- kmsg.Read(ctx, path, kernel.Options{Follow: true}, func(line string) error {
			lines <- line

			return nil
		})
	}()

	for _, text := range []string{"first", "second"} {
		if _, err = unix.Write(fd, []byte("6,1,1,-;"+text+"\n")); err != nil {
			t.Fatal(err)
		}

		if line := <-lines; !strings.HasSuffix(line, ": "+text+"\n") {
			t.Errorf("got %q", line)
		}
	}

	cancel()

	if err = <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("after the caller left: %v", err)
	}

	if err = kmsg.Read(t.Context(), path+"x", kernel.Options{}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
}
