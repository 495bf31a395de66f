package mounts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

// pollMillis bounds how late Watch notices the end of its context.
const pollMillis = 2000

// Watch calls changed with what is mounted, at once and after every change, until ctx ends.
func Watch(ctx context.Context, changed func([]mountinfo.Mount)) error {
	return watch(ctx, mountinfo.Path, changed)
}

func watch(ctx context.Context, path string, changed func([]mountinfo.Mount)) error {
	// Not os.Open: Go's own poller would take the file, and a change that it is told of is not told again.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("watch mounts: open %s: %w", path, err)
	}

	f := os.NewFile(uintptr(fd), path)
	defer f.Close()

	for ctx.Err() == nil {
		data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<24))
		if err != nil {
			return fmt.Errorf("watch mounts: %w", err)
		}

		changed(mountinfo.Parse(string(data)))

		// The kernel marks a change as exceptional data.
		for n := 0; n == 0 && ctx.Err() == nil; {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, pollMillis)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("watch mounts: %w", err)
			}

			n = max(n, 0)
		}
	}

	return nil
}
