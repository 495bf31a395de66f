package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/proto/bytesize"
)

// Port gives the port of a listener such as "tcp-50000".
func Port(listen string) (int, error) {
	number, tcp := strings.CutPrefix(listen, "tcp-")

	port, err := strconv.ParseUint(number, 10, 16)
	if !tcp || err != nil || port == 0 {
		return 0, fmt.Errorf("%q is not tcp-PORT", listen)
	}

	return int(port), nil
}

// parseMemory reads a limit in bytes; none is zero.
func parseMemory(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}

	size, err := bytesize.Parse(text)
	if err != nil || size == 0 {
		return 0, fmt.Errorf("%q is not a size such as 64Mi", text)
	}

	return int64(size), nil
}

// normalCapabilities spells capabilities as lower case names without the prefix CAP_.
func normalCapabilities(names []string) ([]string, error) {
	out := make([]string, 0, len(names))

	for _, name := range names {
		normal := strings.TrimPrefix(strings.ToLower(name), "cap_")
		if _, known := Capability(normal); !known && normal != AllCapabilities {
			return nil, fmt.Errorf("%q is no Linux capability", name)
		}

		out = append(out, normal)
	}

	if slices.Contains(out, AllCapabilities) {
		return []string{AllCapabilities}, nil
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

// CapabilityNumbers are the kernel's numbers of all that the daemon may have.
func (m Manifest) CapabilityNumbers() []uintptr {
	var out []uintptr

	for number := uintptr(0); number <= unix.CAP_LAST_CAP; number++ {
		if slices.ContainsFunc(m.Capabilities, func(name string) bool {
			own, known := Capability(name)

			return name == AllCapabilities || known && own == number
		}) {
			out = append(out, number)
		}
	}

	return out
}
