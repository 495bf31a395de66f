// Package sysctl plans and sets kernel parameters: those of /proc/sys, and of /sys for configurations that ask for them.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config"
)

// Param is what a parameter is to be.
type Param struct {
	Value string
	// IgnoreErrors is for parameters that not every kernel has.
	IgnoreErrors bool
}

// Prefixes of identifiers: "proc.sys.net.ipv4.ip_forward", "sys.block.sda.queue.scheduler".
const (
	procSys = "proc.sys."
	sysfs   = "sys."
)

// ID of a sysctl as configurations write it, "net.ipv4.ip_forward" or "net/ipv4/conf/eth0.5/forwarding". As with
// sysctl(8) the first separator decides which of the two it is.
func ID(name string) string { return procSys + dotted(name) }

func dotted(name string) string {
	if i := strings.IndexAny(name, "./"); i < 0 || name[i] == '.' {
		return name
	}

	// In a path a dot belongs to a name; in the dotted form it becomes a slash.
	return strings.NewReplacer("/", ".", ".", "/").Replace(name)
}

// Path of a parameter below the root.
func Path(id string) string {
	return strings.NewReplacer(".", "/", "/", ".").Replace(id)
}

// Wanted are the parameters of a machine configuration.
func Wanted(m *config.MachineConfig) map[string]Param {
	out := map[string]Param{}

	for name, value := range m.Sysctls {
		out[ID(name)] = Param{Value: value}
	}

	for name, value := range m.Sysfs {
		out[sysfs+dotted(name)] = Param{Value: value}
	}

	return out
}

// Defaults are what a node of its own kernel gets before the configuration has its say: what Kubernetes needs, and what the
// Kernel Self Protection Project recommends (kspp.github.io/Recommended_Settings#sysctls). Not among the latter are
// user.max_user_namespaces=0, which ends user namespaces of pods, and ptrace_scope=3, which ends debugging inside of them.
func Defaults() map[string]Param {
	out := map[string]Param{}

	for name, value := range map[string]string{
		"net.ipv4.ip_forward":                        "1",
		"net.ipv4.icmp_echo_ignore_broadcasts":       "1",
		"net.ipv4.icmp_ignore_bogus_error_responses": "1",
		"kernel.panic":                               "10",
		"kernel.panic_on_oops":                       "1",
		"kernel.pid_max":                             "262144",
		"kernel.dmesg_restrict":                      "1",
		"kernel.kptr_restrict":                       "1",
		"kernel.randomize_va_space":                  "2",
		"vm.overcommit_memory":                       "1",
		"fs.protected_fifos":                         "2",
		"fs.protected_hardlinks":                     "1",
		"fs.protected_regular":                       "2",
		"fs.protected_symlinks":                      "1",
		"fs.suid_dumpable":                           "0",
	} {
		out[ID(name)] = Param{Value: value}
	}

	// Not every kernel has these, and some only make them stricter.
	for name, value := range map[string]string{
		"net.ipv6.conf.default.forwarding": "1",
		"net.ipv6.conf.default.accept_ra":  "2",
		"net.core.bpf_jit_harden":          "2",
		"net.ipv4.tcp_syncookies":          "1",
		"kernel.kexec_load_disabled":       "1",
		"kernel.perf_event_paranoid":       "3",
		"kernel.unprivileged_bpf_disabled": "1",
		"kernel.yama.ptrace_scope":         "1",
		"dev.tty.ldisc_autoload":           "0",
		"dev.tty.legacy_tiocsti":           "0",
		"vm.mmap_min_addr":                 "65536",
		"vm.unprivileged_userfaultfd":      "0",
	} {
		out[ID(name)] = Param{Value: value, IgnoreErrors: true}
	}

	return out
}

// Scope is what of the kernel belongs to the node.
type Scope int

// Scopes.
const (
	// None: hostd runs alone on somebody's machine.
	None Scope = iota
	// Namespaced: a container shares the kernel with its host; only its network namespace is its own.
	Namespaced
	// All: the machine is the node's.
	All
)

// Allows tells whether a parameter may be set. A shared one is never written: it would change the host.
func (s Scope) Allows(id string) bool {
	switch s {
	case All:
		return true
	case Namespaced:
		return strings.HasPrefix(id, procSys+"net.")
	default:
		return false
	}
}

// Op sets one parameter.
type Op struct{ ID, Value string }

func (o Op) String() string { return o.ID + "=" + o.Value }

// Plan gives the operations from what is wanted and what is there. What is right already is left alone, and what is no
// longer wanted goes back to the value from before, known from defaults.
func Plan(wanted map[string]Param, current, before map[string]string, scope Scope) []Op {
	var ops []Op

	for _, id := range slices.Sorted(maps.Keys(current)) {
		value, restore := before[id]
		if want, ok := wanted[id]; ok {
			value = want.Value
		} else if !restore {
			continue
		}

		if scope.Allows(id) && normal(current[id]) != normal(value) {
			ops = append(ops, Op{id, value})
		}
	}

	return ops
}

// normal evens out how the kernel prints lists of numbers.
func normal(value string) string { return strings.Join(strings.Fields(value), " ") }

// Kernel is where parameters are read and set.
type Kernel struct{ Root string }

// Read gives a parameter's value; ok is false when the kernel does not have it.
func (k Kernel) Read(id string) (value string, ok bool, err error) {
	path, err := k.path(id)
	if err != nil {
		return "", false, err
	}

	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}

	if err != nil {
		return "", false, fmt.Errorf("read kernel parameter %s: %w", id, err)
	}

	return strings.TrimRight(string(data), "\n"), true, nil
}

// Set applies an operation.
func (k Kernel) Set(o Op) error {
	path, err := k.path(o.ID)
	if err != nil {
		return err
	}

	// Not created: a parameter that is not there is the kernel's to refuse.
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteString(o.Value)
		err = errors.Join(err, file.Close())
	}

	if err != nil {
		return fmt.Errorf("set kernel parameter %s: %w", o, err)
	}

	return nil
}

func (k Kernel) path(id string) (string, error) {
	rel := Path(id)
	if !filepath.IsLocal(rel) || !strings.HasPrefix(rel, "proc/sys/") && !strings.HasPrefix(rel, "sys/") {
		return "", fmt.Errorf("kernel parameter %q is not below /proc/sys or /sys", id)
	}

	return filepath.Join(k.Root, rel), nil
}
