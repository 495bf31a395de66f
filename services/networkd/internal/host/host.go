// Package host sets the node's name and the two files of /etc that belong to the network.
package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Host is the system below Root. Only with Root "/" is the kernel's host name set: elsewhere the daemon is a guest.
type Host struct{ Root string }

// Guest says that the host name is not ours to set.
func (h Host) Guest() bool { return filepath.Clean(h.Root) != "/" }

// SetHostname sets the kernel's host and domain name if they differ.
func (h Host) SetHostname(hostname, domainname string) error {
	if h.Guest() || hostname == "" {
		return nil
	}

	if line(hostname) == "" || line(domainname) != domainname {
		return fmt.Errorf("set host name %q, domain name %q: not printable", hostname, domainname)
	}

	var now unix.Utsname
	if err := unix.Uname(&now); err != nil {
		return fmt.Errorf("read host name: %w", err)
	}

	if unix.ByteSliceToString(now.Nodename[:]) != hostname {
		if err := unix.Sethostname([]byte(hostname)); err != nil {
			return fmt.Errorf("set host name %q: %w", hostname, err)
		}
	}

	// Without a domain the kernel's own word for none stays.
	if now := unix.ByteSliceToString(now.Domainname[:]); now != domainname && !(domainname == "" && now == "(none)") {
		if err := unix.Setdomainname([]byte(domainname)); err != nil {
			return fmt.Errorf("set domain name %q: %w", domainname, err)
		}
	}

	return nil
}

// WriteFile puts data at a path below Root, if it is not there already. /etc may hold single files bound over read-only
// ones, so a file that cannot be replaced is written in place.
func (h Host) WriteFile(path string, data []byte) error {
	path = filepath.Join(h.Root, path)

	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, data) {
		return nil
	}

	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make directory of %s: %w", path, err)
	}

	replaced := replace(path, data)
	if replaced == nil {
		return nil
	}

	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(replaced, err))
	}

	return nil
}

func replace(path string, data []byte) error {
	next := path + ".next"

	if err := os.WriteFile(next, data, 0o644); err != nil {
		return err
	}

	if err := os.Rename(next, path); err != nil {
		os.Remove(next)

		return err
	}

	return nil
}
