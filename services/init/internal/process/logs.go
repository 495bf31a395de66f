package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/dactyl-os/dactyl/services/init/internal/logring"
	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// Log gives a daemon's log.
func (r *Runner) Log(service string) (*logring.Ring, bool) {
	d := r.daemon(service)
	if d == nil {
		return nil, false
	}

	return d.log, true
}

// AddLog lists a log that no process of this runner writes. Only before anything runs.
func (r *Runner) AddLog(service string, log *logring.Ring) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.daemons[service] = &daemon{log: log, name: service, spec: manifest.Manifest{Name: service}}
}

// Logs are the names of all logs.
func (r *Runner) Logs() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()

	return slices.Sorted(maps.Keys(r.daemons))
}

// MoveLogs goes on in dir with every log.
func (r *Runner) MoveLogs(dir string) error {
	r.mu.Lock()
	r.logDir = dir
	r.mu.Unlock()

	return r.eachLog(func(log *logring.Ring) error { return log.Move(dir) })
}

// SyncLogs puts every log on the disk.
func (r *Runner) SyncLogs() error { return r.eachLog((*logring.Ring).Sync) }

// CloseLogs lets go of the disk that the logs are on.
func (r *Runner) CloseLogs() error { return r.eachLog((*logring.Ring).Close) }

func (r *Runner) eachLog(do func(*logring.Ring) error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()

	var errs []error

	for name, d := range r.daemons {
		if err := do(d.log); err != nil {
			errs = append(errs, fmt.Errorf("log of %s: %w", name, err))
		}
	}

	return errors.Join(errs...)
}

// collect moves output into the log and onto the console, whole lines at a time.
func (r *Runner) collect(d *daemon, output *os.File, drained chan<- struct{}) {
	defer close(drained)
	defer output.Close()

	reader := bufio.NewReaderSize(output, 4<<10)
	prefix := []byte(d.name + " | ")

	for {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			if !bytes.HasSuffix(line, []byte("\n")) {
				line = append(bytes.Clone(line), '\n')
			}

			_, _ = d.log.Write(line)
			_, _ = r.console.Write(append(bytes.Clone(prefix), line...))
		}

		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
