package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
	"github.com/dactyl-os/dactyl/proto/config/urls"
)

func (v *validator) cluster(path *tree.Path, c *ClusterConfig) {
	endpoint := path.Key("controlPlane").Key("endpoint")
	if c.ControlPlane == nil {
		v.essential(endpoint, "missing", "the URL of the Kubernetes API, such as https://10.5.0.2:6443")
	} else {
		if v.needs(endpoint, c.ControlPlane.Endpoint, "the URL of the Kubernetes API, such as https://10.5.0.2:6443") {
			v.endpoint(endpoint, c.ControlPlane.Endpoint)
		}

		within(v, path.Key("controlPlane").Key("localAPIServerPort"), c.ControlPlane.LocalAPIServerPort, 1, 65535)
	}

	if c.Token != "" && !bootstrap.MatchString(c.Token) {
		v.fail(path.Key("token"), "not a bootstrap token", "six and sixteen lower-case letters or digits, joined by a dot")
	}

	if c.AESCBCEncryptionSecret != "" {
		secretBytes(v, path.Key("aescbcEncryptionSecret"), c.AESCBCEncryptionSecret, 16, 24, 32)
	}

	if c.SecretboxEncryptionSecret != "" {
		secretBytes(v, path.Key("secretboxEncryptionSecret"), c.SecretboxEncryptionSecret, 32)
	}

	if v.config.IsControlPlane() {
		v.controlPlaneKeys(path, c)
	}

	v.acceptedCAs(path.Key("acceptedCAs"), c.AcceptedCAs)
	v.clusterNetwork(path.Key("network"), c.Network)
	v.apiServer(path.Key("apiServer"), c.APIServer)
	v.discovery(path, c)
	v.etcd(path.Key("etcd"), c.Etcd)
	v.manifests(path, c)

	if c.AdminKubeconfig != nil && c.AdminKubeconfig.CertLifetime < 0 {
		v.fail(path.Key("adminKubeconfig").Key("certLifetime"), "negative", "")
	}
}

// endpoint takes any scheme, as the contract does; that of the Kubernetes API is https.
func (v *validator) endpoint(path *tree.Path, text string) {
	u, err := url.Parse(text)

	switch {
	case err != nil || u.Hostname() == "":
		v.fail(path, fmt.Sprintf("%q is not a URL that can be used here", urls.Public(text)), "it begins with https:// and has a host")
	case u.Scheme != "https":
		v.note(path, fmt.Sprintf("%q is not https", u.Scheme), "the Kubernetes API is reached by https://")

		fallthrough
	default:
		urlPort(v, path, u)
	}
}

func (v *validator) controlPlaneKeys(path *tree.Path, c *ClusterConfig) {
	v.authority(v.fail, path.Key("ca"), c.CA, true)

	if c.AggregatorCA != nil {
		v.authority(v.fail, path.Key("aggregatorCA"), c.AggregatorCA, true)
	}

	if c.ServiceAccount != nil {
		found(v.fail, path.Key("serviceAccount").Key("key"), keyProblem(c.ServiceAccount.Key))
	}

	var etcd *CertificateAndKey
	if c.Etcd != nil {
		etcd = c.Etcd.CA
	}

	v.authority(v.fail, path.Key("etcd").Key("ca"), etcd, true)
}

func (v *validator) clusterNetwork(path *tree.Path, n *ClusterNetworkConfig) {
	if n == nil {
		return
	}

	optional(v, path.Key("dnsDomain"), n.DNSDomain, dnsName)
	each(v, path.Key("podSubnets"), n.PodSubnets, prefix)
	each(v, path.Key("serviceSubnets"), n.ServiceSubnets, prefix)

	for field, list := range map[string][]string{"podSubnets": n.PodSubnets, "serviceSubnets": n.ServiceSubnets} {
		if len(list) > 2 {
			v.fail(path.Key(field), fmt.Sprintf("%d networks", len(list)), "one per IP family at most")
		}
	}

	if cni := n.CNI; cni != nil {
		at := path.Key("cni")

		switch {
		case cni.Name == "custom" && len(cni.URLs) == 0:
			v.fail(at.Key("urls"), "missing", "a custom CNI is installed from the manifests at these URLs")
		case cni.Name != "custom" && len(cni.URLs) > 0:
			v.fail(at.Key("urls"), "only for a custom CNI", "set name: custom")
		}

		each(v, at.Key("urls"), cni.URLs, location("http", "https"))
	}
}

func (v *validator) apiServer(path *tree.Path, a *APIServerConfig) {
	if a == nil {
		return
	}

	each(v, path.Key("certSANs"), a.CertSANs, subjectName)

	plugins := path.Key("admissionControl")
	unique(v, plugins, a.AdmissionControl, "name", "plugin", func(p *AdmissionPluginConfig) string { return p.Name })

	for i, plugin := range a.AdmissionControl {
		require(v, plugins.Index(i).Key("name"), plugin.Name, "")
	}

	if a.AuditPolicy != nil && (a.AuditPolicy["kind"] != "Policy" || a.AuditPolicy["rules"] == nil) {
		v.fail(path.Key("auditPolicy"), "not an audit policy", "it has apiVersion: audit.k8s.io/v1, kind: Policy and rules")
	}

	for i, volume := range a.ExtraVolumes {
		absolute(v, path.Key("extraVolumes").Index(i).Key("hostPath"), volume.HostPath)
		absolute(v, path.Key("extraVolumes").Index(i).Key("mountPath"), volume.MountPath)
	}
}

func (v *validator) discovery(path *tree.Path, c *ClusterConfig) {
	if c.Discovery == nil || !Bool(c.Discovery.Enabled, true) {
		return
	}

	service := &RegistryServiceConfig{}
	if c.Discovery.Registries != nil && c.Discovery.Registries.Service != nil {
		service = c.Discovery.Registries.Service
	}

	if Bool(service.Disabled, false) {
		return
	}

	v.discoveryKeys(path, c)
	optional(v, path.Key("discovery").Key("registries").Key("service").Key("endpoint"), service.Endpoint, location("https", "http"))
}

func (v *validator) discoveryKeys(path *tree.Path, c *ClusterConfig) {
	const hint = "discovery needs it; take it from the secrets the cluster was generated with (gen secrets)"

	require(v, path.Key("id"), c.ID, hint)

	if require(v, path.Key("secret"), c.Secret, hint) {
		secretBytes(v, path.Key("secret"), c.Secret)
	}
}

func (v *validator) etcd(path *tree.Path, e *EtcdConfig) {
	if e == nil {
		return
	}

	each(v, path.Key("advertisedSubnets"), e.AdvertisedSubnets, filter)
	each(v, path.Key("listenSubnets"), e.ListenSubnets, filter)
}

func (v *validator) manifests(path *tree.Path, c *ClusterConfig) {
	each(v, path.Key("extraManifests"), c.ExtraManifests, location("http", "https"))

	if cloud := c.ExternalCloudProvider; cloud != nil {
		at := path.Key("externalCloudProvider").Key("manifests")
		each(v, at, cloud.Manifests, location("http", "https"))

		if !Bool(cloud.Enabled, false) && len(cloud.Manifests) > 0 {
			v.fail(at, "the external cloud provider is not enabled", "set enabled: true beside it")
		}
	}

	inline := path.Key("inlineManifests")
	unique(v, inline, c.InlineManifests, "name", "manifest", func(m ClusterInlineManifest) string { return m.Name })

	for i, manifest := range c.InlineManifests {
		require(v, inline.Index(i).Key("name"), manifest.Name, "")
	}
}

func (v *validator) kubelet(path *tree.Path, k *KubeletConfig) {
	if k == nil {
		return
	}

	each(v, path.Key("clusterDNS"), k.ClusterDNS, ip)

	if k.NodeIP != nil {
		each(v, path.Key("nodeIP").Key("validSubnets"), k.NodeIP.ValidSubnets, filter)
	}

	for i, mount := range k.ExtraMounts {
		if require(v, path.Key("extraMounts").Index(i).Key("destination"), mount.Destination, "") {
			absolute(v, path.Key("extraMounts").Index(i).Key("destination"), mount.Destination)
		}
	}

	// These come from other fields; a second source would fight with them.
	managed := []string{"authentication", "authorization", "cgroupRoot", "staticPodPath"}
	for _, key := range slices.Sorted(maps.Keys(k.ExtraConfig)) {
		if slices.Contains(managed, key) {
			v.warn(path.Key("extraConfig").Key(key), "managed by the system", "remove it")
		}
	}

	if k.ExtraConfig["kind"] != nil && k.ExtraConfig["kind"] != "KubeletConfiguration" {
		v.fail(path.Key("extraConfig").Key("kind"), "not a KubeletConfiguration", "")
	}
}
