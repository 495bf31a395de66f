package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// firstInherited is the first file descriptor that init hands over, as systemd does.
const firstInherited = 3

// inherited takes over the listeners that init holds: LISTEN_FDS of them, named by LISTEN_FDNAMES. The first is the
// daemon's own socket. The variables are removed so that children do not believe in them.
func inherited() (own net.Listener, extra map[string]net.Listener, err error) {
	count, names, err := inheritedNames(os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"), os.Getenv("LISTEN_PID"), os.Getpid())

	for _, key := range []string{"LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"} {
		os.Unsetenv(key)
	}

	if err != nil {
		return nil, nil, err
	}

	extra = map[string]net.Listener{}

	for i := range count {
		l, err := fileListener(firstInherited + i)
		if err != nil {
			return nil, nil, fmt.Errorf("take over listener %q: %w", names[i], err)
		}

		if i == 0 {
			own = l
		} else {
			extra[names[i]] = l
		}
	}

	return own, extra, nil
}

func fileListener(fd int) (net.Listener, error) {
	syscall.CloseOnExec(fd)

	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()

	return net.FileListener(f)
}

// inheritedNames gives a name for each descriptor. Names are separated by colons, as systemd's are.
func inheritedNames(fds, fdNames, pid string, self int) (int, []string, error) {
	if fds == "" || (pid != "" && pid != strconv.Itoa(self)) {
		return 0, nil, nil
	}

	count, err := strconv.Atoi(fds)
	if err != nil || count < 0 {
		return 0, nil, fmt.Errorf("parse LISTEN_FDS %q", fds)
	}

	var names []string

	if fdNames != "" {
		names = strings.Split(fdNames, ":")
	}

	if len(names) != count && fdNames != "" {
		return 0, nil, fmt.Errorf("LISTEN_FDNAMES %q does not name %d listeners", fdNames, count)
	}

	for len(names) < count {
		names = append(names, "listener-"+strconv.Itoa(len(names)))
	}

	return count, names, nil
}

// listen makes the daemon's own socket when nobody handed one over. Nobody else can connect before it is ready: the
// directory is made for root only, and the socket with a umask.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make socket directory: %w", err)
	}

	if err := removeStale(path); err != nil {
		return nil, err
	}

	mask := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(mask)

	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}

	return l, nil
}

// removeStale removes the socket of a predecessor that crashed. Anything else at that path is somebody's mistake.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}

	if err != nil {
		return fmt.Errorf("look at socket path: %w", err)
	}

	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("socket path %s is occupied by a %s", path, kind(info.Mode()))
	}

	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()

		return fmt.Errorf("socket %s is served by a running process", path)
	}

	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale socket: %w", err)
	}

	return nil
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "regular file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	default:
		return "file of type " + mode.Type().String()
	}
}
