package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/proto/bytesize"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

func (v *validator) main(doc *V1Alpha1) {
	require(v, at("version"), doc.Version, "version: v1alpha1")

	if doc.Machine == nil {
		v.essential(at("machine"), "missing", "a machine needs at least its type, token and ca")
	} else {
		v.machine(at("machine"), doc.Machine)
	}

	if doc.Cluster == nil {
		v.essential(at("cluster"), "missing", "a machine needs at least the cluster's controlPlane.endpoint")
	} else {
		v.cluster(at("cluster"), doc.Cluster)
	}
}

func (v *validator) machine(path *tree.Path, m *MachineConfig) {
	if v.needs(path.Key("type"), m.Type, "controlplane or worker") {
		switch m.Type {
		case "init":
			v.warn(path.Key("type"), "init is an old spelling", "use controlplane")
		case "join":
			v.warn(path.Key("type"), "join is an old spelling", "use worker")
		}
	}

	v.needs(path.Key("token"), m.Token, "take it from the secrets the cluster was generated with (gen secrets)")
	v.machineAuthority(path.Key("ca"), m.CA)
	v.acceptedCAs(path.Key("acceptedCAs"), m.AcceptedCAs)
	each(v, path.Key("certSANs"), m.CertSANs, subjectName)

	if !v.config.IsControlPlane() && m.CA != nil && len(m.CA.Key) > 0 {
		v.warn(path.Key("ca").Key("key"), "a worker does not need the key of the certificate authority", "remove it")
	}

	v.network(path.Key("network"), v.config.Network())
	v.kubelet(path.Key("kubelet"), m.Kubelet)
	v.pods(path.Key("pods"), m.Pods)
	v.disks(path.Key("disks"), m.Disks)
	v.install(path.Key("install"), m.Install)
	v.files(path.Key("files"), m.Files)
	v.times(path.Key("time"), m.Time)
	v.registries(path.Key("registries"), m.Registries)
	v.encryption(path.Key("systemDiskEncryption"), m.SystemDiskEncryption)
	v.features(path.Key("features"), m.Features)
	v.kernel(path, m)
	v.nodeMeta(path, m)
}

func (v *validator) acceptedCAs(path *tree.Path, list []*Certificate) {
	for i, ca := range list {
		found(v.fail, path.Index(i).Key("crt"), certificateProblem(ca.Crt))
	}
}

func (v *validator) pods(path *tree.Path, list []map[string]any) {
	for i, pod := range list {
		if pod["kind"] != "Pod" || pod["apiVersion"] != "v1" {
			v.fail(path.Index(i), "not a static pod", "it has apiVersion: v1 and kind: Pod")

			continue
		}

		if metadata, _ := pod["metadata"].(map[string]any); metadata["name"] == nil {
			v.fail(path.Index(i).Key("metadata").Key("name"), "missing", "")
		}
	}
}

func (v *validator) disks(path *tree.Path, list []*MachineDisk) {
	unique(v, path, list, "device", "device", func(d *MachineDisk) string { return d.Device })

	for i, disk := range list {
		at := path.Index(i)
		require(v, at.Key("device"), disk.Device, "such as /dev/sdb")

		for j, partition := range disk.Partitions {
			where := at.Key("partitions").Index(j)

			if require(v, where.Key("mountpoint"), partition.Mountpoint, "such as /var/mnt/extra") {
				absolute(v, where.Key("mountpoint"), partition.Mountpoint)
			}

			if partition.Size == 0 && j < len(disk.Partitions)-1 {
				v.fail(where.Key("size"), "missing", "only the last partition may take what is left")
			}
		}
	}
}

func (v *validator) install(path *tree.Path, install *InstallConfig) {
	if install != nil && install.DiskSelector != nil && install.DiskSelector.Size != "" {
		v.sizeMatcher(path.Key("diskSelector").Key("size"), install.DiskSelector.Size)
	}

	if v.mode != Metal {
		return
	}

	if install == nil || install.Disk == "" && (install.DiskSelector == nil || *install.DiskSelector == (InstallDiskSelector{})) {
		v.fail(path.Key("disk"), "missing", "mode metal installs: name a disk such as /dev/sda, or a diskSelector")
	}
}

// sizeMatcher is a size with a comparison before it, or none.
func (v *validator) sizeMatcher(path *tree.Path, text string) {
	size := strings.TrimLeft(strings.TrimSpace(text), "<>=")
	operator := strings.TrimSuffix(strings.TrimSpace(text), size)

	if _, err := bytesize.Parse(size); err != nil || !slices.Contains([]string{"", "=", "==", "<", "<=", ">", ">="}, operator) {
		v.fail(path, fmt.Sprintf("no disk matches %q", text), "write it like 4GB, >= 100GB or < 1TiB")
	}
}

func (v *validator) files(path *tree.Path, list []*MachineFile) {
	for i, file := range list {
		if require(v, path.Index(i).Key("path"), file.Path, "") {
			absolute(v, path.Index(i).Key("path"), file.Path)
		}
	}
}

func (v *validator) times(path *tree.Path, t *TimeConfig) {
	if t == nil {
		return
	}

	for i, server := range t.Servers {
		if !strings.HasPrefix(server, "/dev/") {
			host(v, path.Key("servers").Index(i), server)
		}
	}

	if t.BootTimeout < 0 {
		v.fail(path.Key("bootTimeout"), "negative", "0 waits without end")
	}
}

func (v *validator) registries(path *tree.Path, r *RegistriesConfig) {
	if r == nil {
		return
	}

	for _, name := range slices.Sorted(maps.Keys(r.Mirrors)) {
		each(v, path.Key("mirrors").Key(name).Key("endpoints"), r.Mirrors[name].Endpoints, location("http", "https"))
	}

	for _, name := range slices.Sorted(maps.Keys(r.Config)) {
		at := path.Key("config").Key(name)
		if strings.Contains(name, "://") {
			v.fail(at, fmt.Sprintf("%q is a URL", name), "the key is a registry's host, with its port if it is not 443")
		}

		v.registryTLS(at.Key("tls"), r.Config[name].TLS)
	}
}

func (v *validator) registryTLS(path *tree.Path, tls *RegistryTLSConfig) {
	if tls == nil {
		return
	}

	// One registry that cannot be asked is no reason to refuse the rest.
	if len(tls.CA) > 0 {
		found(v.note, path.Key("ca"), certificateProblem(tls.CA))
	}

	if id := tls.ClientIdentity; id != nil {
		found(v.note, path.Key("clientIdentity").Key("crt"), certificateProblem(id.Crt))
		found(v.note, path.Key("clientIdentity").Key("key"), keyProblem(id.Key))
	}
}

func (v *validator) encryption(path *tree.Path, e *SystemDiskEncryptionConfig) {
	if e == nil {
		return
	}

	// diskd makes no volume at all rather than an open one.
	if v.mode != Container && (e.State != nil || e.Ephemeral != nil) {
		v.fail(path, "encrypted volumes are not supported yet", "remove it")
	}

	v.partitionEncryption(path.Key("state"), e.State)
	v.partitionEncryption(path.Key("ephemeral"), e.Ephemeral)
}

func (v *validator) partitionEncryption(path *tree.Path, e *EncryptionConfig) {
	if e == nil {
		return
	}

	if e.Provider != "" && e.Provider != "luks2" {
		v.fail(path.Key("provider"), fmt.Sprintf("%q is not known", e.Provider), "it is luks2")
	}

	if len(e.Keys) == 0 {
		v.fail(path.Key("keys"), "missing", "name at least one key: static, nodeID, kms or tpm")
	}

	keys := path.Key("keys")
	unique(v, keys, e.Keys, "slot", "slot", func(k *EncryptionKey) string { return fmt.Sprint(k.Slot) })

	for i, key := range e.Keys {
		sources := 0

		for _, set := range []bool{key.Static != nil, key.NodeID != nil, key.KMS != nil, key.TPM != nil} {
			if set {
				sources++
			}
		}

		if sources != 1 {
			v.fail(keys.Index(i), fmt.Sprintf("%d sources of the key", sources), "exactly one of static, nodeID, kms, tpm")
		}

		within(v, keys.Index(i).Key("slot"), key.Slot, 0, 31)

		if key.Static != nil {
			require(v, keys.Index(i).Key("static").Key("passphrase"), key.Static.Passphrase, "")
		}

		if key.KMS != nil {
			location("grpc", "https")(v, keys.Index(i).Key("kms").Key("endpoint"), key.KMS.Endpoint)
		}
	}
}

func (v *validator) features(path *tree.Path, f *FeaturesConfig) {
	if f == nil {
		f = &FeaturesConfig{}
	}

	v.hostDNS(path.Key("hostDNS"), f.HostDNS)

	if f.KubePrism != nil {
		within(v, path.Key("kubePrism").Key("port"), f.KubePrism.Port, 1, 65535)
	}

	if access := f.KubernetesTalosAPIAccess; access != nil && Bool(access.Enabled, false) {
		at := path.Key("kubernetesTalosAPIAccess")
		if !v.config.IsControlPlane() {
			v.fail(at.Key("enabled"), "only control plane machines give pods access to the API", "remove it from workers")
		}

		for i, role := range access.AllowedRoles {
			if !slices.Contains([]string{"os:admin", "os:operator", "os:reader", "os:etcd:backup", "os:impersonator"}, role) {
				v.fail(at.Key("allowedRoles").Index(i), fmt.Sprintf("%q is not a role", role), "os:admin, os:operator, os:reader or os:etcd:backup")
			}
		}
	}
}

func (v *validator) hostDNS(path *tree.Path, dns *HostDNSConfig) {
	if dns == nil {
		dns = &HostDNSConfig{}
	}

	enabled, forwards := Bool(dns.Enabled, false), Bool(dns.ForwardKubeDNSToHost, false)

	switch {
	case v.mode == Container && !enabled:
		v.fail(path.Key("enabled"), "missing", "a container resolves names through hostDNS: set enabled and forwardKubeDNSToHost to true")
	case v.mode == Container && !forwards:
		v.fail(path.Key("forwardKubeDNSToHost"), "missing", "a container's pods resolve names through hostDNS: set it to true")
	case forwards && !enabled:
		v.fail(path.Key("forwardKubeDNSToHost"), "needs hostDNS", "set enabled: true beside it")
	}
}

func (v *validator) kernel(path *tree.Path, m *MachineConfig) {
	if m.Kernel != nil {
		modules := path.Key("kernel").Key("modules")
		unique(v, modules, m.Kernel.Modules, "name", "module", func(k *KernelModuleConfig) string { return k.Name })

		for i, module := range m.Kernel.Modules {
			require(v, modules.Index(i).Key("name"), module.Name, "")
		}
	}

	for _, name := range slices.Sorted(maps.Keys(m.Env)) {
		if !envName.MatchString(name) {
			v.fail(path.Key("env").Key(name), fmt.Sprintf("%q is not the name of an environment variable", name), "")
		}
	}

	if m.Logging != nil {
		for i, destination := range m.Logging.Destinations {
			at := path.Key("logging").Key("destinations").Index(i)
			location("tcp", "udp")(v, at.Key("endpoint"), destination.Endpoint)
			require(v, at.Key("format"), destination.Format, "json_lines")
		}
	}

	profiles := path.Key("seccompProfiles")
	unique(v, profiles, m.SeccompProfiles, "name", "profile", func(p *MachineSeccompProfile) string { return p.Name })

	for i, profile := range m.SeccompProfiles {
		require(v, profiles.Index(i).Key("name"), profile.Name, "")
	}
}

func (v *validator) nodeMeta(path *tree.Path, m *MachineConfig) {
	for _, key := range slices.Sorted(maps.Keys(m.NodeLabels)) {
		labelKey(v, path.Key("nodeLabels").Key(key), key)
		labelValue(v, path.Key("nodeLabels").Key(key), m.NodeLabels[key])
	}

	for _, key := range slices.Sorted(maps.Keys(m.NodeAnnotations)) {
		labelKey(v, path.Key("nodeAnnotations").Key(key), key)
	}

	for _, key := range slices.Sorted(maps.Keys(m.NodeTaints)) {
		at := path.Key("nodeTaints").Key(key)
		labelKey(v, at, key)

		value, effect, found := strings.Cut(m.NodeTaints[key], ":")
		if !found {
			value, effect = "", m.NodeTaints[key]
		}

		labelValue(v, at, value)

		if !slices.Contains([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}, effect) {
			v.fail(at, fmt.Sprintf("%q is not an effect", effect), "NoSchedule, PreferNoSchedule or NoExecute, after value: if there is one")
		}
	}
}
