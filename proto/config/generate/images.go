package generate

// Versions of what a cluster runs unless it is told otherwise. rootfs/ builds these: a test in tools/dactylctl compares with the
// modules that are pinned there.
const (
	DefaultKubernetesVersion = "1.37.2"
	coreDNSVersion           = "v1.15.0"
	etcdVersion              = "v3.6.16"
	flannelVersion           = "v0.28.10"
	cniPluginsVersion        = "v1.9.1"
	pauseVersion             = "3.10.2"
)

// Repositories of the Kubernetes programs.
const (
	kubeletRepository    = "ghcr.io/siderolabs/kubelet"
	kubernetesRepository = "registry.k8s.io/"
)

// Images are the images that a cluster with default settings needs, as REPOSITORY:TAG.
func Images() []string {
	return []string{
		"ghcr.io/siderolabs/flannel:" + flannelVersion,
		"ghcr.io/siderolabs/install-cni:" + cniPluginsVersion,
		"registry.k8s.io/coredns/coredns:" + coreDNSVersion,
		"gcr.io/etcd-development/etcd:" + etcdVersion,
		kubernetesImage("kube-apiserver", DefaultKubernetesVersion),
		kubernetesImage("kube-controller-manager", DefaultKubernetesVersion),
		kubernetesImage("kube-scheduler", DefaultKubernetesVersion),
		kubernetesImage("kube-proxy", DefaultKubernetesVersion),
		kubeletImage(DefaultKubernetesVersion),
		DefaultInstallImage,
		"registry.k8s.io/pause:" + pauseVersion,
	}
}

func kubernetesImage(name, version string) string {
	return kubernetesRepository + name + ":v" + version
}

func kubeletImage(version string) string { return kubeletRepository + ":v" + version }
