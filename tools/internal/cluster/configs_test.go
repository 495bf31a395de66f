package cluster

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
)

// What the flags say is in the node's configuration, and a patch that the user gives has the last word.
func TestConfigOfANode(t *testing.T) {
	bundle, err := generate.NewBundle(time.Now())
	if err != nil {
		t.Fatal(err)
	}

	spec := &Spec{
		KubePrismPort: 7000, InsecureRegistries: []string{"r.example:5000"},
		Patches: []string{"machine: {network: {hostname: mine}}"}, ControlPlanePatches: []string{"machine: {sysctls: {a: b}}"},
		WorkerPatches: []string{"machine: {sysctls: {c: d}}"},
	}

	out, err := generate.Config(generate.Input{ClusterName: "c", Endpoint: "https://10.5.0.2:6443", Bundle: bundle})
	if err != nil {
		t.Fatal(err)
	}

	m := &Machine{Node: Node{Name: "c-worker-1", Type: "worker"}, cluster: &Cluster{Nameservers: []string{"10.0.0.53"}, VMs: &VMs{}}}

	data, err := m.config(spec, out)
	if err != nil {
		t.Fatal(err)
	}

	c, err := config.Load(data)
	if err != nil {
		t.Fatal(err)
	}

	machine := c.Machine()
	if machine.Type != "worker" || c.Network().Hostname != "mine" || !slices.Equal(c.Network().Nameservers, []string{"10.0.0.53"}) ||
		machine.Install.Disk != "/dev/vda" || len(machine.Sysctls) != 1 || machine.Sysctls["c"] != "d" {
		t.Errorf("configuration of %s:\n%s", m.Name, data)
	}

	for _, text := range []string{"port: 7000", "r.example:5000", "insecureSkipVerify: true"} {
		if !strings.Contains(string(data), text) {
			t.Errorf("%s is not in\n%s", text, data)
		}
	}

	spec.WorkerPatches = []string{"machine: {nonsense: 1}"}

	if _, err := m.config(spec, out); err == nil || !strings.Contains(err.Error(), "--config-patch: ") {
		t.Errorf("a bad patch: %v", err)
	}
}
