// Package lastboot keeps on the STATE partition how each boot ended, so that the next one can tell.
package lastboot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// file of the record below the state directory.
const file = "boot.json"

// Record is one boot.
type Record struct {
	// Boot is the kernel's boot id.
	Boot    string    `json:"boot"`
	Started time.Time `json:"started"`
	// Ended and Reason are set on an orderly way down, and when init itself cannot go on.
	Ended  time.Time `json:"ended,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// Begin reads the record of the boot before and replaces it by this one. previous is empty on the very first boot. Called
// again in the same boot it changes nothing.
func Begin(dir string, this Record, crashed bool) (previous string, err error) {
	var last Record

	// Each power cut may leave the temporary file of a write behind.
	if err := atomicfile.Clean(filepath.Join(dir, file)); err != nil {
		return "", fmt.Errorf("clean boot record: %w", err)
	}

	data, err := os.ReadFile(filepath.Join(dir, file))
	if err == nil {
		err = json.Unmarshal(data, &last)
	}

	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		previous = "unknown: its record cannot be read"
	case last.Boot == this.Boot:
		return "", nil
	default:
		previous = last.ending(crashed)
	}

	return previous, write(dir, this)
}

// ending says how a boot ended. A kernel that crashed could write nothing but its own dump.
func (r Record) ending(crashed bool) string {
	switch {
	case crashed:
		return "kernel crash, see `logs kernel.crash`"
	case r.Ended.IsZero():
		return "power cut, reset or crash: it ended without a word"
	default:
		return r.Reason + ", at " + r.Ended.UTC().Format(time.RFC3339)
	}
}

// End adds why the boot ends.
func End(dir string, this Record, reason string) error {
	this.Ended, this.Reason = time.Now(), reason

	return write(dir, this)
}

func write(dir string, r Record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode boot record: %w", err)
	}

	if err := atomicfile.Write(filepath.Join(dir, file), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep boot record: %w", err)
	}

	return nil
}
