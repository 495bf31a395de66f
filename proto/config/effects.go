package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// What has to be there before a part of a configuration has an effect.
const (
	kubernetes  = "until Kubernetes runs on this node"
	links       = "until networkd makes links of this kind"
	kubespan    = "until KubeSpan is there"
	firewall    = "until the firewall is there: nothing is blocked"
	files       = "until the machine's files are written"
	bootloader  = "until a boot loader is written with it"
	inContainer = "in a container, which has no disks of its own"
)

// idle is a part of a configuration that is taken and that no daemon acts on yet. A place is a document's kind or a path in the
// v1alpha1 document, [] for each element of a list.
type idle struct {
	why    string
	places []string
}

// idles is the one table of what has no effect. A line goes when a daemon acts on what it names.
func idles(mode Mode) []idle {
	table := []idle{
		{kubernetes, []string{
			"machine.controlPlane", "machine.kubelet", "machine.pods", "machine.registries", "machine.seccompProfiles",
			"machine.nodeLabels", "machine.nodeAnnotations", "machine.nodeTaints", "machine.features.kubePrism",
			"cluster.apiServer.image", "cluster.apiServer.extraArgs", "cluster.apiServer.extraVolumes", "cluster.apiServer.env",
			"cluster.apiServer.admissionControl", "cluster.apiServer.auditPolicy", "cluster.apiServer.resources",
			"cluster.controllerManager", "cluster.proxy", "cluster.scheduler", "cluster.coreDNS", "cluster.network.cni",
			"cluster.externalCloudProvider", "cluster.extraManifests", "cluster.extraManifestHeaders", "cluster.inlineManifests",
			"cluster.adminKubeconfig", "cluster.allowSchedulingOnMasters", "cluster.allowSchedulingOnControlPlanes",
		}},
		{links, []string{
			"machine.network.interfaces[].bond", "machine.network.interfaces[].bridge", "machine.network.interfaces[].vlans",
			"machine.network.interfaces[].dummy", "machine.network.interfaces[].wireguard", "machine.network.interfaces[].vip",
		}},
		{"until DHCPv6 is there", []string{"machine.network.interfaces[].dhcpOptions.ipv6", "machine.network.interfaces[].dhcpOptions.duidv6"}},
		{kubespan, []string{"machine.network.kubespan", "KubeSpanEndpointsConfig"}},
		{firewall, []string{"NetworkDefaultActionConfig", "NetworkRuleConfig"}},
		{files, []string{"machine.files", "machine.env", "machine.udev"}},
		{bootloader, []string{"machine.install.extraKernelArgs", "machine.install.legacyBIOSSupport", "machine.install.extensions"}},
		{"until logs are sent away", []string{"machine.logging"}},
		{"until the hardware watchdog has a daemon", []string{"WatchdogTimerConfig"}},
		{"until extension services run", []string{"ExtensionServiceConfig"}},
		{"until SideroLink is there", []string{"SideroLinkConfig"}},
		{"until discovery asks registries: members find each other by gossip", []string{"cluster.discovery.registries.service.endpoint"}},
		{"because etcd is a part of this system", []string{"cluster.etcd.image"}},
		{"because logs have one level", []string{"debug"}},
	}

	if mode == Container {
		table = append(table, idle{inContainer, []string{"VolumeConfig", "machine.disks", "machine.systemDiskEncryption"}})
	}

	return table
}

// Idle names what differs from the configuration before and has no effect, a line for each reason. Documents that are parsed
// from nothing stand for no configuration at all.
func Idle(before, after Tree, mode Mode) []string {
	var told []string

	for _, row := range idles(mode) {
		var places []string

		for _, place := range row.places {
			if is := asked(after, place); is != "" && is != asked(before, place) {
				places = append(places, place)
			}
		}

		if places != nil {
			told = append(told, "accepted, without effect "+row.why+": "+strings.Join(places, ", "))
		}
	}

	return told
}

// Removed names the documents that a configuration lacks and the one before had; the v1alpha1 document is not among them.
func Removed(before, after Tree) []string {
	kept := map[string]bool{"v1alpha1": true}
	for _, doc := range after.docs {
		kept[title(KindOf(doc), tree.Text(doc, "name"))] = true
	}

	var removed []string

	for _, doc := range before.docs {
		if name := title(KindOf(doc), tree.Text(doc, "name")); !kept[name] {
			removed = append(removed, name)
		}
	}

	return removed
}

// asked gives what a configuration says at a place, "" if it asks for nothing there.
func asked(docs Tree, place string) string {
	var said []string

	for _, doc := range docs.docs {
		switch KindOf(doc) {
		case place:
			said = append(said, tree.Canonical(doc))
		case "":
			for _, node := range valuesAt(doc, strings.Split(place, ".")) {
				said = append(said, tree.Canonical(node))
			}
		}
	}

	return strings.Join(said, "\n")
}

// valuesAt finds the values at a path that ask for something.
func valuesAt(node *yaml.Node, path []string) []*yaml.Node {
	if node == nil {
		return nil
	}

	if len(path) == 0 {
		if asks(node) {
			return []*yaml.Node{node}
		}

		return nil
	}

	key, list := strings.CutSuffix(path[0], "[]")
	node = tree.Get(node, key)

	if !list {
		return valuesAt(node, path[1:])
	}

	var found []*yaml.Node

	if node != nil && node.Kind == yaml.SequenceNode {
		for _, element := range node.Content {
			found = append(found, valuesAt(tree.Resolve(element), path[1:])...)
		}
	}

	return found
}

// asks tells a value from what is as good as nothing: empty, null, or switched off.
func asks(node *yaml.Node) bool {
	switch node = tree.Resolve(node); node.Kind {
	case yaml.MappingNode:
		return slices.ContainsFunc(tree.Pairs(node), func(p tree.Pair) bool { return asks(p.Value) })
	case yaml.SequenceNode:
		return len(node.Content) > 0
	default:
		return !tree.IsNull(node) && !slices.Contains([]string{"", "0", "false", "no", "off"}, node.Value)
	}
}
