package process

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// handOver gives the process its descriptors in order (none, output, output, sockets, notify, kept) and tells it of them. A
// program that does not speak our protocol gets the first three.
func (d *daemon) handOver(spec manifest.Manifest, p *pipes) ([]uintptr, []string) {
	files := []uintptr{p.null.Fd(), p.childOutput.Fd(), p.childOutput.Fd()}
	env := environment(spec)

	d.mu.Lock()
	defer d.mu.Unlock()

	if spec.Serves() {
		names := make([]string, 0, len(d.sockets))

		for _, s := range d.sockets {
			files, names = append(files, s.file.Fd()), append(names, s.name)
		}

		env = append(env, "LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"),
			"NOTIFY_FD="+strconv.Itoa(len(files)))
		files = append(files, p.childNotify.Fd())

		if kept, text := d.keptBy(len(files)); len(kept) > 0 {
			files, env = append(files, kept...), append(env, "KEPT_FDS="+text)
		}
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
