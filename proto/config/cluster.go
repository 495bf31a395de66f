package config

// ClusterConfig is what all machines of a cluster share.
type ClusterConfig struct {
	ID                             string                       `yaml:"id,omitempty" desc:"Globally unique name of the cluster (base64)."`
	Secret                         string                       `yaml:"secret,omitempty" secret:"true" desc:"Shared secret of the members (base64)."`
	ControlPlane                   *ControlPlaneConfig          `yaml:"controlPlane,omitempty" desc:"Where the Kubernetes API is reached."`
	ClusterName                    string                       `yaml:"clusterName,omitempty" desc:"Name of the cluster."`
	Network                        *ClusterNetworkConfig        `yaml:"network,omitempty" desc:"Networks of pods and services."`
	Token                          string                       `yaml:"token,omitempty" secret:"true" desc:"Bootstrap token by which kubelets join."`
	AESCBCEncryptionSecret         string                       `yaml:"aescbcEncryptionSecret,omitempty" secret:"true"`
	SecretboxEncryptionSecret      string                       `yaml:"secretboxEncryptionSecret,omitempty" secret:"true" desc:"Key that encrypts Kubernetes secrets at rest."`
	CA                             *CertificateAndKey           `yaml:"ca,omitempty" desc:"Root certificate authority of Kubernetes."`
	AcceptedCAs                    []*Certificate               `yaml:"acceptedCAs,omitempty"`
	AggregatorCA                   *CertificateAndKey           `yaml:"aggregatorCA,omitempty" desc:"Certificate authority of API aggregation."`
	ServiceAccount                 *Key                         `yaml:"serviceAccount,omitempty" desc:"Key that signs service account tokens."`
	APIServer                      *APIServerConfig             `yaml:"apiServer,omitempty"`
	ControllerManager              *ControllerManagerConfig     `yaml:"controllerManager,omitempty"`
	Proxy                          *ProxyConfig                 `yaml:"proxy,omitempty"`
	Scheduler                      *SchedulerConfig             `yaml:"scheduler,omitempty"`
	Discovery                      *ClusterDiscoveryConfig      `yaml:"discovery,omitempty" desc:"How machines find each other."`
	Etcd                           *EtcdConfig                  `yaml:"etcd,omitempty" desc:"etcd of the control plane."`
	CoreDNS                        *CoreDNS                     `yaml:"coreDNS,omitempty"`
	ExternalCloudProvider          *ExternalCloudProviderConfig `yaml:"externalCloudProvider,omitempty"`
	ExtraManifests                 []string                     `yaml:"extraManifests,omitempty" desc:"URLs of manifests applied at bootstrap."`
	ExtraManifestHeaders           map[string]string            `yaml:"extraManifestHeaders,omitempty"`
	InlineManifests                []ClusterInlineManifest      `yaml:"inlineManifests,omitempty" merge:"key=name" desc:"Manifests applied at bootstrap."`
	AdminKubeconfig                *AdminKubeconfigConfig       `yaml:"adminKubeconfig,omitempty"`
	AllowSchedulingOnMasters       *bool                        `yaml:"allowSchedulingOnMasters,omitempty" deprecated:"use allowSchedulingOnControlPlanes"`
	AllowSchedulingOnControlPlanes *bool                        `yaml:"allowSchedulingOnControlPlanes,omitempty" desc:"Let ordinary pods run on control plane nodes."`
}

// ControlPlaneConfig is where the Kubernetes API is.
type ControlPlaneConfig struct {
	Endpoint           string `yaml:"endpoint" desc:"URL of the Kubernetes API."`
	LocalAPIServerPort int    `yaml:"localAPIServerPort,omitempty"`
}

// ClusterNetworkConfig is the networks of pods and services.
type ClusterNetworkConfig struct {
	CNI            *CNIConfig `yaml:"cni,omitempty"`
	DNSDomain      string     `yaml:"dnsDomain,omitempty"`
	PodSubnets     []string   `yaml:"podSubnets,omitempty" merge:"replace"`
	ServiceSubnets []string   `yaml:"serviceSubnets,omitempty" merge:"replace"`
}

// CNIConfig picks the network plugin.
type CNIConfig struct {
	Name    string            `yaml:"name,omitempty" enum:"flannel|custom|none"`
	URLs    []string          `yaml:"urls,omitempty"`
	Flannel *FlannelCNIConfig `yaml:"flannel,omitempty"`
}

// FlannelCNIConfig is flannel's arguments.
type FlannelCNIConfig struct {
	ExtraArgs []string `yaml:"extraArgs,omitempty"`
}

// ResourcesConfig is Kubernetes resource requests and limits.
type ResourcesConfig struct {
	Requests map[string]any `yaml:"requests,omitempty"`
	Limits   map[string]any `yaml:"limits,omitempty"`
}

// VolumeMountConfig mounts a host path into a static pod.
type VolumeMountConfig struct {
	HostPath  string `yaml:"hostPath"`
	MountPath string `yaml:"mountPath"`
	ReadOnly  *bool  `yaml:"readonly,omitempty"`
}

// APIServerConfig is kube-apiserver's.
type APIServerConfig struct {
	Image                    string                   `yaml:"image,omitempty"`
	ExtraArgs                map[string]string        `yaml:"extraArgs,omitempty"`
	ExtraVolumes             []VolumeMountConfig      `yaml:"extraVolumes,omitempty"`
	Env                      map[string]string        `yaml:"env,omitempty"`
	CertSANs                 []string                 `yaml:"certSANs,omitempty"`
	DisablePodSecurityPolicy *bool                    `yaml:"disablePodSecurityPolicy,omitempty"`
	AdmissionControl         []*AdmissionPluginConfig `yaml:"admissionControl,omitempty" merge:"key=name"`
	AuditPolicy              map[string]any           `yaml:"auditPolicy,omitempty" merge:"replace"`
	Resources                *ResourcesConfig         `yaml:"resources,omitempty"`
}

// AdmissionPluginConfig configures one admission plugin.
type AdmissionPluginConfig struct {
	Name          string         `yaml:"name"`
	Configuration map[string]any `yaml:"configuration"`
}

// ControllerManagerConfig is kube-controller-manager's.
type ControllerManagerConfig struct {
	Image        string              `yaml:"image,omitempty"`
	ExtraArgs    map[string]string   `yaml:"extraArgs,omitempty"`
	ExtraVolumes []VolumeMountConfig `yaml:"extraVolumes,omitempty"`
	Env          map[string]string   `yaml:"env,omitempty"`
	Resources    *ResourcesConfig    `yaml:"resources,omitempty"`
}

// SchedulerConfig is kube-scheduler's.
type SchedulerConfig struct {
	Image        string              `yaml:"image,omitempty"`
	ExtraArgs    map[string]string   `yaml:"extraArgs,omitempty"`
	ExtraVolumes []VolumeMountConfig `yaml:"extraVolumes,omitempty"`
	Env          map[string]string   `yaml:"env,omitempty"`
	Resources    *ResourcesConfig    `yaml:"resources,omitempty"`
	Config       map[string]any      `yaml:"config,omitempty"`
}

// ProxyConfig is kube-proxy's.
type ProxyConfig struct {
	Disabled  *bool             `yaml:"disabled,omitempty"`
	Image     string            `yaml:"image,omitempty"`
	Mode      string            `yaml:"mode,omitempty"`
	ExtraArgs map[string]string `yaml:"extraArgs,omitempty"`
}

// ClusterDiscoveryConfig is how members find each other.
type ClusterDiscoveryConfig struct {
	Enabled    *bool                      `yaml:"enabled,omitempty"`
	Registries *DiscoveryRegistriesConfig `yaml:"registries,omitempty"`
}

// DiscoveryRegistriesConfig switches the registries.
type DiscoveryRegistriesConfig struct {
	Kubernetes *Disableable           `yaml:"kubernetes,omitempty"`
	Service    *RegistryServiceConfig `yaml:"service,omitempty"`
}

// RegistryServiceConfig is the outside discovery service.
type RegistryServiceConfig struct {
	Disabled *bool  `yaml:"disabled,omitempty"`
	Endpoint string `yaml:"endpoint,omitempty"`
}

// EtcdConfig is etcd's.
type EtcdConfig struct {
	Image             string             `yaml:"image,omitempty"`
	CA                *CertificateAndKey `yaml:"ca,omitempty"`
	ExtraArgs         map[string]string  `yaml:"extraArgs,omitempty"`
	AdvertisedSubnets []string           `yaml:"advertisedSubnets,omitempty"`
	ListenSubnets     []string           `yaml:"listenSubnets,omitempty"`
}

// CoreDNS is the cluster's resolver.
type CoreDNS struct {
	Disabled *bool  `yaml:"disabled,omitempty"`
	Image    string `yaml:"image,omitempty"`
}

// ExternalCloudProviderConfig is an external cloud controller.
type ExternalCloudProviderConfig struct {
	Enabled   *bool    `yaml:"enabled,omitempty"`
	Manifests []string `yaml:"manifests,omitempty"`
}

// ClusterInlineManifest is a manifest written into the configuration.
type ClusterInlineManifest struct {
	Name     string `yaml:"name"`
	Contents string `yaml:"contents"`
}

// AdminKubeconfigConfig is the admin's kubeconfig.
type AdminKubeconfigConfig struct {
	CertLifetime Duration `yaml:"certLifetime,omitempty"`
}

// KubeletConfig is the kubelet's.
type KubeletConfig struct {
	Image                               string               `yaml:"image,omitempty"`
	ClusterDNS                          []string             `yaml:"clusterDNS,omitempty"`
	ExtraArgs                           map[string]string    `yaml:"extraArgs,omitempty"`
	ExtraMounts                         []ExtraMount         `yaml:"extraMounts,omitempty"`
	ExtraConfig                         map[string]any       `yaml:"extraConfig,omitempty"`
	CredentialProviderConfig            map[string]any       `yaml:"credentialProviderConfig,omitempty"`
	DefaultRuntimeSeccompProfileEnabled *bool                `yaml:"defaultRuntimeSeccompProfileEnabled,omitempty"`
	RegisterWithFQDN                    *bool                `yaml:"registerWithFQDN,omitempty"`
	NodeIP                              *KubeletNodeIPConfig `yaml:"nodeIP,omitempty"`
	SkipNodeRegistration                *bool                `yaml:"skipNodeRegistration,omitempty"`
	DisableManifestsDirectory           *bool                `yaml:"disableManifestsDirectory,omitempty"`
}

// KubeletNodeIPConfig limits the node's addresses; a leading ! excludes.
type KubeletNodeIPConfig struct {
	ValidSubnets []string `yaml:"validSubnets,omitempty"`
}

// ExtraMount is an OCI mount of the kubelet.
type ExtraMount struct {
	Destination string           `yaml:"destination"`
	Type        string           `yaml:"type,omitempty"`
	Source      string           `yaml:"source,omitempty"`
	Options     []string         `yaml:"options,omitempty"`
	UIDMappings []LinuxIDMapping `yaml:"uidMappings,omitempty"`
	GIDMappings []LinuxIDMapping `yaml:"gidMappings,omitempty"`
}

// LinuxIDMapping maps user or group IDs.
type LinuxIDMapping struct {
	ContainerID uint32 `yaml:"containerID"`
	HostID      uint32 `yaml:"hostID"`
	Size        uint32 `yaml:"size"`
}
