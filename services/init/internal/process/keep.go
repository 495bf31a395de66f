package process

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// maxKept bounds the descriptors that init keeps for one daemon.
const maxKept = 64

// told is what a daemon tells init: lines of KEY=VALUE, in messages that may carry one descriptor.
type told struct {
	ready func(version string)
	// keep takes the descriptor, drop closes the one of the name.
	keep func(name string, fd int)
	drop func(name string)
}

// listen hears a daemon out. done is closed when it has nothing more to say: it and what it has started have ended.
func (t told) listen(notify *net.UnixConn, done chan<- struct{}) {
	defer close(done)
	defer notify.Close()

	var version string

	text, rights := make([]byte, 1<<10), make([]byte, unix.CmsgSpace(4))

	for {
		n, oobn, _, _, err := notify.ReadMsgUnix(text, rights)
		if err != nil || n == 0 {
			return
		}

		fd := descriptorIn(rights[:oobn])

		for line := range bytes.Lines(text[:n]) {
			switch key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "="); key {
			case "VERSION":
				version = value
			case "READY":
				t.ready(version)
			case "KEEP":
				if fd >= 0 {
					t.keep(value, fd)
				}

				fd = -1
			case "DROP":
				t.drop(value)
			}
		}

		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// descriptorIn gives the one that a message carries, or -1. The kernel has closed what was more than there was room for.
func descriptorIn(rights []byte) int {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) == 0 {
		return -1
	}

	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1
	}

	return fds[0]
}

// keep takes a descriptor of the process that runs now, if its manifest names it. It stays open until it is dropped.
func (d *daemon) keep(from *run, name string, fd int) error {
	d.mu.Lock()
	old, had := d.kept[name]

	var err error

	switch {
	case d.current != from:
		err = fmt.Errorf("descriptor %q of a process that has ended", name)
	case !manifest.Covers(d.spec.Keep, name) || !manifest.ValidName(name):
		err = fmt.Errorf("descriptor %q is not in its manifest (keep:)", name)
	case !had && len(d.kept) >= maxKept:
		err = fmt.Errorf("descriptor %q is one more than the %d that init keeps for a daemon", name, maxKept)
	}

	if err != nil {
		d.mu.Unlock()

		_ = unix.Close(fd)

		return err
	}

	if d.kept == nil {
		d.kept = map[string]int{}
	}

	d.kept[name] = fd
	d.mu.Unlock()

	if had {
		_ = unix.Close(old)
	}

	return nil
}

// release closes the kept descriptors that gone names. A close may take its time: nobody waits for it.
func (d *daemon) release(gone func(name string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()

	for name, fd := range d.kept {
		if gone(name) {
			delete(d.kept, name)

			go unix.Close(fd) // nobody is left who could be told
		}
	}
}

// keptBy names the kept descriptors by the numbers they will have, from first on: "watchdog=7:dhcp-eth0=8".
func (d *daemon) keptBy(first int) (fds []uintptr, text string) {
	var words []string

	for _, name := range slices.Sorted(maps.Keys(d.kept)) {
		words = append(words, name+"="+strconv.Itoa(first+len(fds)))
		fds = append(fds, uintptr(d.kept[name]))
	}

	return fds, strings.Join(words, ":")
}
