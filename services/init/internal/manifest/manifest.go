// Package manifest is what init starts: one strict YAML file per daemon, and the order in which they need each other.
package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Restart says what happens when a daemon's process ends by itself.
type Restart string

// Restart policies: whatever the reason, until it has succeeded once, not at all.
const (
	RestartAlways Restart = "always"
	RestartOnce   Restart = "once"
	RestartNever  Restart = "never"
)

// Kill says what ends with a daemon's process, at a stop and when it ends by itself.
type Kill string

// Kill modes: everything in its cgroup (where there is none, its process group), its process group, nothing else.
const (
	KillCgroup  Kill = "cgroup"
	KillGroup   Kill = "group"
	KillProcess Kill = "process"
)

// AllCapabilities is what `capabilities: {all: …}` stands for.
const AllCapabilities = "all"

// DefaultHang is how long a daemon may leave its health check without an answer unless its manifest says otherwise.
const DefaultHang = time.Minute

// DefaultStopTimeout is how long a daemon may take to end after SIGTERM unless its manifest says otherwise.
const DefaultStopTimeout = 5 * time.Second

// Manifest describes one daemon.
type Manifest struct {
	Env          map[string]string
	Name         string
	Restart      Restart
	Kill         Kill
	Command      []string
	Needs        []string
	Capabilities []string
	Aliases      []string
	// Conditions have to hold at the start, besides what it needs.
	Conditions []Condition
	// Defines are the names, or beginnings of names with a star, of units that the daemon may define.
	Defines []string
	// Grants are the capabilities that those units may have.
	Grants []string
	// Keep are the names, in the same terms, of descriptors that it may leave with init.
	Keep []string
	// Ready and Health ask programs that do not speak our protocol; the zero Probe asks nothing.
	Ready, Health Probe
	// Listen names listeners that init opens and keeps, as "tcp-PORT".
	Listen []string
	// Memory is the limit in bytes; zero is none.
	Memory      int64
	StopTimeout time.Duration
	// Hang is how long a health check may stay without an answer until the daemon is restarted; zero is for ever.
	Hang time.Duration
	User uint32
	// NoSocket daemons have no socket of ours, and so none of our protocols.
	NoSocket bool
	// Delegate leaves the cgroups below the daemon's own to it.
	Delegate bool
	// NewPrivileges lets set-user-ID programs among its children work.
	NewPrivileges bool
	// Root is why the daemon has no user of its own.
	Root string
	// Owns are directories that init makes for the daemon: nobody else opens what is in them.
	Owns []string
	// Adopts are files from before the daemon had a directory of its own: they come into the first one it owns, once.
	Adopts []string
	// Reads and Writes are the only files and trees that it may open, besides what it owns, once either is given.
	Reads, Writes []string
	// MachineOnly daemons do not run where the kernel is shared.
	MachineOnly bool
	// After is what has to be up before the daemon starts; nil is Needs, which also say in what order daemons stop.
	After []string
	// What a daemon needs and may do besides on a machine of its own, and After there.
	MachineNeeds, MachineCapabilities, MachineAfter []string
	MachineEnv                                      map[string]string
}

// Awaits is what has to be up before the daemon starts.
func (m Manifest) Awaits() []string {
	if m.After != nil {
		return m.After
	}

	return m.Needs
}

// For gives the manifests of a machine, or those of a node that shares its kernel: without the daemons that are for machines
// only, and without needing them.
func For(manifests []Manifest, machine bool) []Manifest {
	var out []Manifest

	absent := map[string]bool{}

	for _, m := range manifests {
		absent[m.Name] = m.MachineOnly && !machine
	}

	for _, m := range manifests {
		if absent[m.Name] {
			continue
		}

		if machine {
			m.Needs, m.Capabilities = slices.Concat(m.Needs, m.MachineNeeds), slices.Concat(m.Capabilities, m.MachineCapabilities)
			m.Env, m.After = maps.Clone(m.Env), m.MachineAfter

			for key, value := range m.MachineEnv {
				if m.Env == nil {
					m.Env = map[string]string{}
				}

				m.Env[key] = value
			}
		}

		m.Needs = slices.DeleteFunc(slices.Clone(m.Needs), func(need string) bool { return absent[need] })
		out = append(out, m)
	}

	return out
}

// Serves tells whether the daemon speaks our protocol: readiness by NOTIFY_FD, health by gRPC on its socket.
func (m Manifest) Serves() bool { return !m.NoSocket }

// before is all that has a place before this daemon, at the start or on the way down.
func (m Manifest) before() []string { return slices.Concat(m.Needs, m.After) }

// Names gives the name and its aliases.
func (m Manifest) Names() []string {
	return append([]string{m.Name}, m.Aliases...)
}

// LoadDir reads every *.yaml of a directory. Manifests that are wrong are left out and reported together, so that one
// bad file does not keep a node from starting.
func LoadDir(dir string) ([]Manifest, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}

	var (
		manifests []Manifest
		errs      []error
	)

	for _, path := range paths {
		m, err := loadFile(path)
		if err != nil {
			errs = append(errs, err)

			continue
		}

		manifests = append(manifests, m)
	}

	if len(paths) == 0 {
		errs = append(errs, fmt.Errorf("no service manifests in %s", dir))
	}

	return manifests, errors.Join(append(errs, clashes(manifests)...)...)
}

func loadFile(path string) (Manifest, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest: %w", err)
	}

	m, err := Parse(filepath.Base(path), data)
	if err != nil {
		return Manifest{}, err
	}

	if m.Name+".yaml" != filepath.Base(path) {
		return Manifest{}, fmt.Errorf("%s: name is %q, the file must be called %s.yaml", filepath.Base(path), m.Name, m.Name)
	}

	return m, nil
}

// clashes finds names, aliases and listeners claimed twice.
func clashes(manifests []Manifest) []error {
	var errs []error

	owner := map[string]string{}

	for _, m := range manifests {
		for _, claim := range append(m.Names(), m.Listen...) {
			if other, taken := owner[claim]; taken {
				errs = append(errs, fmt.Errorf("%s and %s both claim %q", other, m.Name, claim))
			}

			owner[claim] = m.Name
		}
	}

	return errs
}

// Order sorts manifests so that each comes after what it needs, by name where that leaves a choice. Needs that no manifest
// has and circles are reported; what is in a circle comes last, because it can never start.
func Order(manifests []Manifest) ([]Manifest, error) {
	left := slices.SortedFunc(slices.Values(manifests), func(a, b Manifest) int { return cmp.Compare(a.Name, b.Name) })

	known, errs := map[string]bool{}, []error(nil)
	for _, m := range left {
		known[m.Name] = true
	}

	var ordered []Manifest

	placed := map[string]bool{}

	for len(left) > 0 {
		at := slices.IndexFunc(left, func(m Manifest) bool {
			return !slices.ContainsFunc(m.before(), func(need string) bool { return known[need] && !placed[need] })
		})
		if at < 0 {
			errs = append(errs, circle(left))

			return append(ordered, left...), errors.Join(errs...)
		}

		m := left[at]
		for _, need := range m.before() {
			if !known[need] {
				errs = append(errs, fmt.Errorf("%s needs %q, which no manifest starts", m.Name, need))
			}
		}

		ordered, placed[m.Name] = append(ordered, m), true
		left = slices.Delete(left, at, at+1)
	}

	return ordered, errors.Join(errs...)
}

// CircleError names what can never start.
type CircleError struct{ Names []string }

func (e *CircleError) Error() string {
	return strings.Join(e.Names, ", ") + " need each other in a circle"
}

func circle(left []Manifest) error {
	names := make([]string, len(left))
	for i, m := range left {
		names[i] = m.Name
	}

	return &CircleError{Names: names}
}
