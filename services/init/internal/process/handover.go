package process

import (
	"bufio"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// handOver gives the process its descriptors in order (none, output, output, sockets, notify) and tells it of them. A program
// that does not speak our protocol gets the first three.
func (d *daemon) handOver(spec manifest.Manifest, p *pipes) ([]uintptr, []string) {
	files := []uintptr{p.null.Fd(), p.childOutput.Fd(), p.childOutput.Fd()}
	env := environment(spec)

	if spec.Serves() {
		names := make([]string, 0, len(d.sockets))

		for _, s := range d.sockets {
			files, names = append(files, s.file.Fd()), append(names, s.name)
		}

		env = append(env, "LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"),
			"NOTIFY_FD="+strconv.Itoa(len(files)))
		files = append(files, p.childNotify.Fd())
	}

	return files, env
}

// environment is what the daemon's manifest and its limit say.
func environment(spec manifest.Manifest) []string {
	env := []string{"PATH=/usr/bin", "HOME=/"}

	// The runtime collects garbage harder before the kernel's limit ends the process.
	if limit := spec.Memory; limit > 0 && spec.Env["GOMEMLIMIT"] == "" {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(limit/10*9, 10))
	}

	for _, key := range slices.Sorted(maps.Keys(spec.Env)) {
		env = append(env, key+"="+spec.Env[key])
	}

	return env
}

// awaitReady calls ready when the daemon says that it serves, with the version that it gave before. notified is closed when
// it has nothing more to say.
func awaitReady(notify *os.File, ready func(version string), notified chan<- struct{}) {
	defer close(notified)
	defer notify.Close()

	var version string

	for scanner := bufio.NewScanner(notify); scanner.Scan(); {
		switch key, value, _ := strings.Cut(scanner.Text(), "="); key {
		case "VERSION":
			version = value
		case "READY":
			ready(version)
		}
	}
}
