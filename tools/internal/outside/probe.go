package outside

import (
	"maps"
	"slices"

	"github.com/cosi-project/runtime/api/v1alpha1"
)

// Daemons are the daemons of a control plane beside init, sorted.
func Daemons() []string { return slices.Sorted(maps.Keys(probes())) }

// Probe asks for a resource that only this daemon can answer.
func Probe(daemon string) *v1alpha1.GetRequest { return probes()[daemon] }

func probes() map[string]*v1alpha1.GetRequest {
	return map[string]*v1alpha1.GetRequest{
		"configd":    {Namespace: "config", Type: "MachineTypes.config.talos.dev", Id: "machine-type"},
		"discoveryd": {Namespace: "cluster", Type: "Identities.cluster.talos.dev", Id: "local"},
		"etcdd":      {Namespace: "etcd", Type: "EtcdSpecs.etcd.talos.dev", Id: "etcd"},
		"gateway":    {Namespace: "runtime", Type: "Services.v1alpha1.talos.dev", Id: "gateway"},
		"hostd":      {Namespace: "perf", Type: "MemoryStats.perf.talos.dev", Id: "latest"},
		"networkd":   {Namespace: "network", Type: "HostnameStatuses.net.talos.dev", Id: "hostname"},
		"timed":      {Namespace: "runtime", Type: "TimeStatuses.v1alpha1.talos.dev", Id: "node"},
		"trustd":     {Namespace: "secrets", Type: "ApiCertificates.secrets.talos.dev", Id: "api"},
	}
}
