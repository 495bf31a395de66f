package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	"golang.org/x/sys/unix"
)

// keys are the known keys of a manifest; anything else is refused.
func keys() []string {
	return []string{
		"name", "command", "needs", "user", "capabilities", "memory", "restart", "aliases", "listen", "when", "env", "stop",
		"where", "machine",
	}
}

// machineKeys are those below machine:.
func machineKeys() []string { return []string{"after", "capabilities", "needs", "env"} }

// document is a manifest as it is written.
type document struct {
	Env          map[string]string `yaml:"env"`
	Name         string            `yaml:"name"`
	Memory       string            `yaml:"memory"`
	Restart      string            `yaml:"restart"`
	When         string            `yaml:"when"`
	Stop         string            `yaml:"stop"`
	Command      []string          `yaml:"command"`
	Needs        []string          `yaml:"needs"`
	Capabilities []string          `yaml:"capabilities"`
	Aliases      []string          `yaml:"aliases"`
	Listen       []string          `yaml:"listen"`
	User         uint32            `yaml:"user"`
	Where        string            `yaml:"where"`
	Machine      struct {
		Env          map[string]string `yaml:"env"`
		After        []string          `yaml:"after"`
		Capabilities []string          `yaml:"capabilities"`
		Needs        []string          `yaml:"needs"`
	} `yaml:"machine"`
}

// Parse reads one manifest. Errors start with "FILE:LINE:".
func Parse(file string, data []byte) (Manifest, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return Manifest{}, fmt.Errorf("%s: not YAML: %w", file, err)
	}

	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return Manifest{}, fmt.Errorf("%s:1: a manifest is one mapping of keys", file)
	}

	body := root.Content[0]

	at, err := lines(file, body, keys())
	if err != nil {
		return Manifest{}, err
	}

	for i, key := range body.Content {
		if i%2 == 0 && key.Value == "machine" && body.Content[i+1].Kind == yaml.MappingNode {
			if _, err := lines(file, body.Content[i+1], machineKeys()); err != nil {
				return Manifest{}, err
			}
		}
	}

	var doc document
	if err := body.Decode(&doc); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", file, err)
	}

	return doc.manifest(func(key, format string, args ...any) error {
		return fmt.Errorf("%s:%d: %s: %s", file, max(at[key], 1), key, fmt.Sprintf(format, args...))
	})
}

// lines gives the line of each key and refuses unknown and repeated ones.
func lines(file string, body *yaml.Node, known []string) (map[string]int, error) {
	var errs []error

	at := map[string]int{}

	for i := 0; i+1 < len(body.Content); i += 2 {
		key := body.Content[i]

		if !slices.Contains(known, key.Value) {
			errs = append(errs, fmt.Errorf("%s:%d: unknown key %q (known: %s)", file, key.Line, key.Value, strings.Join(known, ", ")))
		}

		if first, again := at[key.Value]; again {
			errs = append(errs, fmt.Errorf("%s:%d: key %q is already on line %d", file, key.Line, key.Value, first))
		}

		at[key.Value] = key.Line
	}

	return at, errors.Join(errs...)
}

func (d document) manifest(wrong func(key, format string, args ...any) error) (Manifest, error) {
	m := Manifest{
		Name: d.Name, Command: d.Command, Needs: d.Needs, User: d.User, Aliases: d.Aliases, Listen: d.Listen, Env: d.Env,
		Restart: Restart(d.Restart), When: When(d.When), StopTimeout: DefaultStopTimeout,
		MachineOnly: d.Where == "machine", MachineNeeds: d.Machine.Needs, MachineAfter: d.Machine.After, MachineEnv: d.Machine.Env,
	}

	if m.Restart == "" {
		m.Restart = RestartAlways
	}

	if m.When == "" {
		m.When = WhenAlways
	}

	var err, errs error

	if m.Memory, err = parseMemory(d.Memory); err != nil {
		errs = errors.Join(errs, wrong("memory", "%v", err))
	}

	if m.Capabilities, err = normalCapabilities(d.Capabilities); err != nil {
		errs = errors.Join(errs, wrong("capabilities", "%v", err))
	}

	if d.Machine.Capabilities != nil {
		if m.MachineCapabilities, err = normalCapabilities(d.Machine.Capabilities); err != nil {
			errs = errors.Join(errs, wrong("machine", "%v", err))
		}
	}

	if d.Where != "" && d.Where != "machine" {
		errs = errors.Join(errs, wrong("where", "%q is not machine", d.Where))
	}

	if d.Stop != "" {
		if m.StopTimeout, err = time.ParseDuration(d.Stop); err != nil || m.StopTimeout <= 0 {
			errs = errors.Join(errs, wrong("stop", "%q is not a duration such as 5s", d.Stop))
		}
	}

	return m, errors.Join(errs, check(m, wrong))
}

// check refuses values that have the right type and still make no sense.
func check(m Manifest, wrong func(key, format string, args ...any) error) error {
	var errs []error

	if !regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(m.Name) {
		errs = append(errs, wrong("name", "%q is not a name of lower case letters, digits and dashes", m.Name))
	}

	if len(m.Command) == 0 || !strings.HasPrefix(m.Command[0], "/") {
		errs = append(errs, wrong("command", "the program's absolute path is missing"))
	}

	if !slices.Contains([]Restart{RestartAlways, RestartOnce, RestartNever}, m.Restart) {
		errs = append(errs, wrong("restart", "%q is none of always, once, never", m.Restart))
	}

	if !slices.Contains([]When{WhenAlways, WhenConfigured, WhenControlPlane}, m.When) {
		errs = append(errs, wrong("when", "%q is none of always, configured, controlplane", m.When))
	}

	if slices.Contains(slices.Concat(m.Needs, m.MachineNeeds, m.MachineAfter), m.Name) {
		errs = append(errs, wrong("needs", "%s cannot need itself", m.Name))
	}

	for _, listen := range m.Listen {
		if _, err := Port(listen); err != nil {
			errs = append(errs, wrong("listen", "%v", err))
		}
	}

	return errors.Join(errs...)
}

// Port gives the port of a listener such as "tcp:50000".
func Port(listen string) (int, error) {
	number, tcp := strings.CutPrefix(listen, "tcp:")

	port, err := strconv.ParseUint(number, 10, 16)
	if !tcp || err != nil || port == 0 {
		return 0, fmt.Errorf("%q is not tcp:PORT", listen)
	}

	return int(port), nil
}

// parseMemory reads a size in bytes with an optional unit Ki, Mi or Gi.
func parseMemory(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}

	number, shift := text, 0

	for unit, bits := range map[string]int{"Ki": 10, "Mi": 20, "Gi": 30} {
		if head, found := strings.CutSuffix(text, unit); found {
			number, shift = head, bits
		}
	}

	value, err := strconv.ParseInt(number, 10, 32)
	if err != nil || value <= 0 {
		return 0, fmt.Errorf("%q is not a size such as 64Mi", text)
	}

	return value << shift, nil
}

// normalCapabilities spells capabilities as lower case names without the prefix CAP_.
func normalCapabilities(names []string) ([]string, error) {
	out := make([]string, 0, len(names))

	for _, name := range names {
		normal := strings.TrimPrefix(strings.ToLower(name), "cap_")
		if _, known := Capability(normal); !known {
			return nil, fmt.Errorf("%q is no Linux capability", name)
		}

		out = append(out, normal)
	}

	slices.Sort(out)

	return slices.Compact(out), nil
}

// Capability gives the kernel's number of a capability (capabilities(7), in the order of linux/capability.h).
func Capability(name string) (uintptr, bool) {
	at := slices.Index([]string{
		"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
		"linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
		"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
		"sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
		"mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
		"checkpoint_restore",
	}, name)
	if at < 0 || at > unix.CAP_LAST_CAP {
		return 0, false
	}

	return uintptr(at), true
}
