package plan

import (
	"strings"

	"github.com/dactyl-os/dactyl/proto/config/diff"
)

// rule says who acts on the changes below a path; the longest path counts.
type rule struct {
	path    string
	daemons []string
	reboot  bool
}

func to(path string, daemons ...string) rule { return rule{path: path, daemons: daemons} }

// reboots marks changes that only a boot takes up, because what they change is set up once, at boot.
func reboots(path string, daemons ...string) rule {
	return rule{path: path, daemons: daemons, reboot: true}
}

func rules() []rule {
	return []rule{
		reboots("machine.type", "init"),
		to("machine.token", "trustd"),
		to("machine.ca", "trustd", "gateway"),
		to("machine.acceptedCAs", "trustd", "gateway"),
		to("machine.certSANs", "trustd"),
		to("machine.controlPlane", "podd"),
		to("machine.kubelet", "podd"),
		to("machine.pods", "podd"),
		to("machine.network", "networkd"),
		to("machine.network.hostname", "networkd", "trustd", "discoveryd"),
		to("machine.network.kubespan", "networkd", "discoveryd"),
		reboots("machine.disks", "diskd"),
		to("machine.install", "diskd"),
		reboots("machine.files", "hostd"),
		reboots("machine.env", "init"),
		to("machine.time", "timed", "networkd"),
		to("machine.sysctls", "hostd"),
		to("machine.sysfs", "hostd"),
		to("machine.kernel", "hostd"),
		to("machine.udev", "hostd"),
		to("machine.registries", "podd"),
		reboots("machine.systemDiskEncryption", "diskd"),
		reboots("machine.features", "init"),
		reboots("machine.features.rbac", "gateway"),
		reboots("machine.features.apidCheckExtKeyUsage", "gateway"),
		reboots("machine.features.stableHostname", "networkd"),
		reboots("machine.features.diskQuotaSupport", "diskd"),
		to("machine.features.kubernetesTalosAPIAccess", "podd"),
		to("machine.features.kubePrism", "podd"),
		to("machine.features.hostDNS", "networkd"),
		to("machine.logging", "init"),
		to("machine.seccompProfiles", "podd"),
		to("machine.nodeLabels", "podd"),
		to("machine.nodeAnnotations", "podd"),
		to("machine.nodeTaints", "podd"),
		to("cluster", "podd"),
		to("cluster.id", "discoveryd"),
		to("cluster.secret", "discoveryd"),
		to("cluster.controlPlane", "discoveryd", "podd", "trustd"),
		to("cluster.clusterName", "discoveryd", "podd"),
		to("cluster.ca", "podd", "trustd"),
		to("cluster.acceptedCAs", "podd", "trustd"),
		to("cluster.aggregatorCA", "podd", "trustd"),
		to("cluster.serviceAccount", "podd", "trustd"),
		to("cluster.apiServer.certSANs", "podd", "trustd"),
		to("cluster.discovery", "discoveryd"),
		to("cluster.etcd", "etcdd"),
		to("cluster.etcd.ca", "etcdd", "trustd"),
		to("VolumeConfig", "diskd"),
		to("ExtensionServiceConfig", "extd"),
		to("NetworkDefaultActionConfig", "networkd"),
		to("NetworkRuleConfig", "networkd"),
		to("KubeSpanEndpointsConfig", "networkd"),
		to("EventSinkConfig", "hostd"),
		to("KmsgLogConfig", "hostd"),
		to("WatchdogTimerConfig", "watchdogd"),
		to("TrustedRootsConfig", "hostd"),
		to("SideroLinkConfig", "networkd"),
	}
}

// AllChanges makes a change of every path that has a rule, for tests of the table.
func AllChanges() []diff.Change {
	var changes []diff.Change

	for _, r := range rules() {
		if strings.HasPrefix(r.path, "machine") || strings.HasPrefix(r.path, "cluster") {
			changes = append(changes, diff.Change{Document: "v1alpha1", Path: r.path})
		} else {
			changes = append(changes, diff.Change{Document: r.path})
		}
	}

	return changes
}

// find returns the rule of the longest path that holds the change; one that no rule names concerns nobody.
func find(change diff.Change) rule {
	place := change.Path
	if kind, _, _ := strings.Cut(change.Document, " "); kind != "v1alpha1" {
		place = kind
	}

	var best rule

	for _, r := range rules() {
		if below(place, r.path) && len(r.path) > len(best.path) {
			best = r
		}
	}

	return best
}

func below(place, path string) bool {
	rest, found := strings.CutPrefix(place, path)

	return found && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
