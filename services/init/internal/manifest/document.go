package manifest

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Document is a manifest as it is written: values as people write them, what is left out is empty.
type Document struct {
	Env          map[string]string `yaml:"env"`
	NoNewPrivs   *bool             `yaml:"no_new_privs"`
	Name         string            `yaml:"name"`
	Memory       string            `yaml:"memory"`
	Restart      string            `yaml:"restart"`
	Stop         string            `yaml:"stop"`
	Socket       string            `yaml:"socket"`
	Hang         string            `yaml:"hang"`
	Kill         string            `yaml:"kill"`
	Where        string            `yaml:"where"`
	Ready        Probe             `yaml:"ready"`
	Health       Probe             `yaml:"health"`
	Command      []string          `yaml:"command"`
	Needs        []string          `yaml:"needs"`
	Conditions   []string          `yaml:"conditions"`
	Capabilities Capabilities      `yaml:"capabilities"`
	Grants       Capabilities      `yaml:"grants"`
	Aliases      []string          `yaml:"aliases"`
	Listen       []string          `yaml:"listen"`
	Defines      []string          `yaml:"defines"`
	Keep         []string          `yaml:"keep"`
	Owns         []string          `yaml:"owns"`
	Adopts       []string          `yaml:"adopts"`
	Reads        []string          `yaml:"reads"`
	Writes       []string          `yaml:"writes"`
	Root         string            `yaml:"root"`
	User         uint32            `yaml:"user"`
	Delegate     bool              `yaml:"delegate"`
	Machine      struct {
		Env          map[string]string `yaml:"env"`
		After        []string          `yaml:"after"`
		Capabilities Capabilities      `yaml:"capabilities"`
		Needs        []string          `yaml:"needs"`
	} `yaml:"machine"`
}

// Wrong makes the error about the value of a key.
type Wrong func(key, format string, args ...any) error

// Manifest gives the document its meaning; wrong words the errors, which are all told together.
func (d Document) Manifest(wrong Wrong) (Manifest, error) {
	m := Manifest{
		Name: d.Name, Command: d.Command, Needs: d.Needs, User: d.User, Aliases: d.Aliases, Listen: d.Listen, Env: d.Env,
		Restart: Restart(d.Restart), Kill: Kill(d.Kill), StopTimeout: DefaultStopTimeout, Hang: DefaultHang,
		Ready: d.Ready, Health: d.Health, Defines: d.Defines, Keep: d.Keep,
		NoSocket: d.Socket == "none", Delegate: d.Delegate, NewPrivileges: d.NoNewPrivs != nil && !*d.NoNewPrivs,
		Root: d.Root, Owns: d.Owns, Adopts: d.Adopts, Reads: d.Reads, Writes: d.Writes,
		MachineOnly: d.Where == "machine", MachineNeeds: d.Machine.Needs, MachineAfter: d.Machine.After, MachineEnv: d.Machine.Env,
	}

	if m.Restart == "" {
		m.Restart = RestartAlways
	}

	if m.Kill == "" {
		m.Kill = KillCgroup
	}

	if m.Health.None() {
		m.Health = m.Ready
	}

	for _, text := range d.Conditions {
		m.Conditions = append(m.Conditions, Condition(text))
	}

	return m, errors.Join(d.values(&m, wrong), d.words(wrong), check(m, wrong), limits(m, wrong), checkWalls(m, wrong))
}

// values reads what has a notation of its own.
func (d Document) values(m *Manifest, wrong Wrong) error {
	var err, errs error

	if m.Memory, err = parseMemory(d.Memory); err != nil {
		errs = errors.Join(errs, wrong("memory", "%v", err))
	}

	if m.Capabilities, err = normalCapabilities(d.Capabilities); err != nil {
		errs = errors.Join(errs, wrong("capabilities", "%v", err))
	}

	if d.Grants != nil {
		if m.Grants, err = normalCapabilities(d.Grants); err != nil {
			errs = errors.Join(errs, wrong("grants", "%v", err))
		}
	}

	if d.Machine.Capabilities != nil {
		if m.MachineCapabilities, err = normalCapabilities(d.Machine.Capabilities); err != nil {
			errs = errors.Join(errs, wrong("machine", "%v", err))
		}
	}

	if d.Stop != "" {
		if m.StopTimeout, err = time.ParseDuration(d.Stop); err != nil || m.StopTimeout <= 0 {
			errs = errors.Join(errs, wrong("stop", "%q is not a duration such as 5s", d.Stop))
		}
	}

	switch d.Hang {
	case "":
	case "never":
		m.Hang = 0
	default:
		if m.Hang, err = time.ParseDuration(d.Hang); err != nil || m.Hang <= 0 {
			errs = errors.Join(errs, wrong("hang", "%q is neither never nor a duration such as 60s", d.Hang))
		}
	}

	return errs
}

// words refuses words that a key does not know.
func (d Document) words(wrong Wrong) error {
	var errs error

	if d.Where != "" && d.Where != "machine" {
		errs = errors.Join(errs, wrong("where", "%q is not machine", d.Where))
	}

	if d.Socket != "" && d.Socket != "none" {
		errs = errors.Join(errs, wrong("socket", "%q is not none", d.Socket))
	}

	return errs
}

// check refuses values that have the right type and still make no sense.
func check(m Manifest, wrong Wrong) error {
	var errs []error

	for key, names := range map[string][]string{"name": {m.Name}, "needs": m.Needs, "aliases": m.Aliases} {
		for _, name := range names {
			if !named.MatchString(name) {
				errs = append(errs, wrong(key, "%q is not a name of lower case letters, digits and dashes, at most %d", name, nameLength))
			}
		}
	}

	if len(m.Command) == 0 || !strings.HasPrefix(m.Command[0], "/") {
		errs = append(errs, wrong("command", "the program's absolute path is missing"))
	}

	if !slices.Contains([]Restart{RestartAlways, RestartOnce, RestartNever}, m.Restart) {
		errs = append(errs, wrong("restart", "%q is none of always, once, never", m.Restart))
	}

	if !slices.Contains([]Kill{KillCgroup, KillGroup, KillProcess}, m.Kill) {
		errs = append(errs, wrong("kill", "%q is none of cgroup, group, process", m.Kill))
	}

	if slices.Contains(slices.Concat(m.Needs, m.MachineNeeds, m.MachineAfter), m.Name) {
		errs = append(errs, wrong("needs", "%s cannot need itself", m.Name))
	}

	for _, listen := range m.Listen {
		if _, err := Port(listen); err != nil {
			errs = append(errs, wrong("listen", "%v", err))
		}
	}

	for _, condition := range m.Conditions {
		if err := condition.check(); err != nil {
			errs = append(errs, wrong("conditions", "%v", err))
		}
	}

	return errors.Join(errs...)
}

// limits refuses what does not go together, and more than there is room for.
func limits(m Manifest, wrong Wrong) error {
	var errs []error

	for key, probe := range map[string]Probe{"ready": m.Ready, "health": m.Health} {
		if err := probe.check(); err != nil {
			errs = append(errs, wrong(key, "%v", err))
		}

		if m.Serves() && !probe.None() {
			errs = append(errs, wrong(key, "a daemon with a socket of ours says it itself: probes go with socket: none"))
		}
	}

	for key, patterns := range map[string][]string{"defines": m.Defines, "keep": m.Keep} {
		if err := checkPatterns(patterns); err != nil {
			errs = append(errs, wrong(key, "%v", err))
		}
	}

	if m.NoSocket && len(m.Listen)+len(m.Keep)+len(m.Defines) > 0 {
		errs = append(errs, wrong("socket", "who has no socket of ours is given no listener, keeps no descriptor and defines no unit"))
	}

	if len(m.Grants) > 0 && len(m.Defines) == 0 {
		errs = append(errs, wrong("grants", "they are for units that the daemon defines, and defines: names none"))
	}

	if m.Delegate && m.Memory > 0 {
		errs = append(errs, wrong("memory", "a limit would hold for all that is delegated, too"))
	}

	return errors.Join(errs...)
}
