package daemon

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/dactyl-os/dactyl/services/kit/version"
)

// declareReady writes to the descriptor in NOTIFY_FD which version serves, and closes it.
func declareReady() error {
	value := os.Getenv("NOTIFY_FD")
	os.Unsetenv("NOTIFY_FD")

	if value == "" {
		return nil
	}

	fd, err := strconv.Atoi(value)
	if err != nil || fd < firstInherited {
		return fmt.Errorf("parse NOTIFY_FD %q", value)
	}

	syscall.CloseOnExec(fd)

	f := os.NewFile(uintptr(fd), "notify")
	defer f.Close()

	if _, err := fmt.Fprintf(f, "VERSION=%s %s\nREADY=1\n", version.Tag, version.SHA); err != nil {
		return fmt.Errorf("declare ready: %w", err)
	}

	return nil
}
