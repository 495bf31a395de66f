package cluster

import (
	"strings"
	"testing"
)

func TestKernelCommandLine(t *testing.T) {
	for name, c := range map[string]struct {
		vms        VMs
		extra      string
		want, lack []string
	}{
		"emulated":         {VMs{Arch: "amd64"}, "", []string{"pti=on", "pti=off mitigations=off tsc=reliable", "console=ttyS0"}, nil},
		"emulated arm64":   {VMs{Arch: "arm64"}, "", []string{"mitigations=off", "console=ttyAMA0"}, []string{"tsc=", "pti=off"}},
		"on the processor": {VMs{Arch: "amd64", KVM: true}, "", []string{"pti=on"}, []string{"pti=off", "mitigations=off", "tsc="}},
		"the user's last":  {VMs{Arch: "amd64"}, "mitigations=auto pti=on", []string{"tsc=reliable mitigations=auto pti=on"}, nil},
	} {
		m := &Machine{cluster: &Cluster{VMs: &c.vms, KernelArgs: c.extra}}
		line := m.vmCommandLine()

		for _, part := range c.want {
			if !strings.Contains(line, part) {
				t.Errorf("%s: %q lacks %q", name, line, part)
			}
		}

		for _, part := range c.lack {
			if strings.Contains(line, part) {
				t.Errorf("%s: %q has %q", name, line, part)
			}
		}
	}
}
