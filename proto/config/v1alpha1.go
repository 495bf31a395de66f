package config

// Field tags: `secret` marks what redaction hides, `enum` the allowed values, `merge` how a patch treats a list or map
// (replace, or key=FIELD[,FIELD] to merge elements by identity; otherwise lists are appended and maps merged),
// `deprecated` what the warning about a field that still loads says, `desc` the comment that generated files carry.

// V1Alpha1 is the main document; the only one without kind.
type V1Alpha1 struct {
	Version string         `yaml:"version" enum:"v1alpha1" desc:"Version of this document's schema."`
	Debug   *bool          `yaml:"debug,omitempty" desc:"Verbose logs on the console."`
	Persist *bool          `yaml:"persist,omitempty" desc:"Without effect: the configuration is always persisted."`
	Machine *MachineConfig `yaml:"machine,omitempty" desc:"The machine: keys, network, disks, kubelet."`
	Cluster *ClusterConfig `yaml:"cluster,omitempty" desc:"The cluster this machine belongs to."`
}

// Kind returns "", as the document carries no kind.
func (*V1Alpha1) Kind() string { return "" }

// DocumentName returns "": there is one such document at most.
func (*V1Alpha1) DocumentName() string { return "" }

// CertificateAndKey is a PEM certificate with its PEM key; workers hold the certificate only.
type CertificateAndKey struct {
	Crt Base64 `yaml:"crt"`
	Key Base64 `yaml:"key" secret:"true"`
}

// Certificate is a PEM certificate.
type Certificate struct {
	Crt Base64 `yaml:"crt"`
}

// Key is a PEM private key.
type Key struct {
	Key Base64 `yaml:"key" secret:"true"`
}

// MachineConfig is what concerns this machine alone.
type MachineConfig struct {
	Type                 string                      `yaml:"type" enum:"controlplane|worker|init|join" desc:"Role of the machine in the cluster: controlplane or worker."`
	Token                string                      `yaml:"token,omitempty" secret:"true" desc:"Machines join the cluster's PKI with this token."`
	CA                   *CertificateAndKey          `yaml:"ca,omitempty" desc:"Root certificate authority of the OS API; workers hold no key."`
	AcceptedCAs          []*Certificate              `yaml:"acceptedCAs,omitempty" desc:"More certificate authorities whose certificates are accepted."`
	CertSANs             []string                    `yaml:"certSANs,omitempty" desc:"Extra names and addresses in the API certificate."`
	ControlPlane         *MachineControlPlaneConfig  `yaml:"controlPlane,omitempty"`
	Kubelet              *KubeletConfig              `yaml:"kubelet,omitempty" desc:"The kubelet: image, arguments, mounts."`
	Pods                 []map[string]any            `yaml:"pods,omitempty" desc:"Static pods, each a full v1 Pod."`
	Network              *NetworkConfig              `yaml:"network,omitempty" desc:"Host name, interfaces, resolvers."`
	Disks                []*MachineDisk              `yaml:"disks,omitempty" desc:"Extra disks to partition, format and mount."`
	Install              *InstallConfig              `yaml:"install,omitempty" desc:"Where and what to install."`
	Files                []*MachineFile              `yaml:"files,omitempty" desc:"Files to write before services start."`
	Env                  map[string]string           `yaml:"env,omitempty" desc:"Environment of the system services, such as http_proxy."`
	Time                 *TimeConfig                 `yaml:"time,omitempty" desc:"Time servers."`
	Sysctls              map[string]string           `yaml:"sysctls,omitempty" desc:"Kernel parameters below /proc/sys."`
	Sysfs                map[string]string           `yaml:"sysfs,omitempty" desc:"Values to write below /sys."`
	Registries           *RegistriesConfig           `yaml:"registries,omitempty" desc:"Registry mirrors, credentials and TLS."`
	SystemDiskEncryption *SystemDiskEncryptionConfig `yaml:"systemDiskEncryption,omitempty" desc:"Encryption of the STATE and EPHEMERAL partitions."`
	Features             *FeaturesConfig             `yaml:"features,omitempty" desc:"Switches of single features."`
	Udev                 *UdevConfig                 `yaml:"udev,omitempty"`
	Logging              *LoggingConfig              `yaml:"logging,omitempty" desc:"Where service logs are sent."`
	Kernel               *KernelConfig               `yaml:"kernel,omitempty" desc:"Kernel modules to load."`
	SeccompProfiles      []*MachineSeccompProfile    `yaml:"seccompProfiles,omitempty" merge:"key=name"`
	NodeLabels           map[string]string           `yaml:"nodeLabels,omitempty" desc:"Labels of the Kubernetes node."`
	NodeAnnotations      map[string]string           `yaml:"nodeAnnotations,omitempty"`
	NodeTaints           map[string]string           `yaml:"nodeTaints,omitempty" desc:"Taints of the Kubernetes node: key to value:effect."`
}

// MachineControlPlaneConfig switches control plane components off on this machine.
type MachineControlPlaneConfig struct {
	ControllerManager *Disableable `yaml:"controllerManager,omitempty"`
	Scheduler         *Disableable `yaml:"scheduler,omitempty"`
}

// Disableable holds one switch.
type Disableable struct {
	Disabled *bool `yaml:"disabled,omitempty"`
}

// Enableable holds one switch.
type Enableable struct {
	Enabled *bool `yaml:"enabled,omitempty"`
}

// MachineDisk is a disk that the machine partitions.
type MachineDisk struct {
	Device     string           `yaml:"device"`
	Partitions []*DiskPartition `yaml:"partitions,omitempty"`
}

// DiskPartition is one partition; size 0 takes what is left.
type DiskPartition struct {
	Size       ByteSize `yaml:"size,omitempty"`
	Mountpoint string   `yaml:"mountpoint,omitempty"`
}

// InstallConfig names the system disk and the installer image.
type InstallConfig struct {
	Disk              string                   `yaml:"disk,omitempty" desc:"Disk to install to."`
	DiskSelector      *InstallDiskSelector     `yaml:"diskSelector,omitempty"`
	ExtraKernelArgs   []string                 `yaml:"extraKernelArgs,omitempty"`
	Image             string                   `yaml:"image,omitempty" desc:"Installer image."`
	Extensions        []InstallExtensionConfig `yaml:"extensions,omitempty" deprecated:"build an image with the extensions in it"`
	Bootloader        *bool                    `yaml:"bootloader,omitempty" deprecated:"a boot loader is always installed"`
	Wipe              *bool                    `yaml:"wipe,omitempty" desc:"Wipe the disk first."`
	LegacyBIOSSupport *bool                    `yaml:"legacyBIOSSupport,omitempty"`
}

// InstallDiskSelector picks the system disk by what it is; globs are allowed in strings.
type InstallDiskSelector struct {
	Size     string `yaml:"size,omitempty"`
	Name     string `yaml:"name,omitempty"`
	Model    string `yaml:"model,omitempty"`
	Serial   string `yaml:"serial,omitempty"`
	Modalias string `yaml:"modalias,omitempty"`
	UUID     string `yaml:"uuid,omitempty"`
	WWID     string `yaml:"wwid,omitempty"`
	Type     string `yaml:"type,omitempty" enum:"ssd|hdd|nvme|sd"`
	BusPath  string `yaml:"busPath,omitempty"`
}

// InstallExtensionConfig is a system extension image.
type InstallExtensionConfig struct {
	Image string `yaml:"image"`
}

// MachineFile is a file to create, append to or overwrite.
type MachineFile struct {
	Content     string   `yaml:"content"`
	Permissions FileMode `yaml:"permissions,omitempty"`
	Path        string   `yaml:"path"`
	Op          string   `yaml:"op,omitempty" enum:"create|append|overwrite"`
}

// TimeConfig names the time servers.
type TimeConfig struct {
	Disabled    *bool    `yaml:"disabled,omitempty" desc:"Do not set the clock."`
	Servers     []string `yaml:"servers,omitempty" desc:"NTP servers, or a PTP device."`
	BootTimeout Duration `yaml:"bootTimeout,omitempty" desc:"How long a boot waits for the first synchronisation."`
}

// RegistriesConfig is keyed by registry host; "*" in mirrors stands for any other.
type RegistriesConfig struct {
	Mirrors map[string]*RegistryMirrorConfig `yaml:"mirrors,omitempty"`
	Config  map[string]*RegistryConfig       `yaml:"config,omitempty"`
}

// RegistryMirrorConfig lists the endpoints tried in order.
type RegistryMirrorConfig struct {
	Endpoints    []string `yaml:"endpoints"`
	OverridePath *bool    `yaml:"overridePath,omitempty"`
}

// RegistryConfig is how one registry is spoken to.
type RegistryConfig struct {
	TLS  *RegistryTLSConfig  `yaml:"tls,omitempty"`
	Auth *RegistryAuthConfig `yaml:"auth,omitempty"`
}

// RegistryTLSConfig is a registry's TLS.
type RegistryTLSConfig struct {
	ClientIdentity     *CertificateAndKey `yaml:"clientIdentity,omitempty"`
	CA                 Base64             `yaml:"ca,omitempty"`
	InsecureSkipVerify *bool              `yaml:"insecureSkipVerify,omitempty"`
}

// RegistryAuthConfig is a registry's credentials.
type RegistryAuthConfig struct {
	Username      string `yaml:"username,omitempty"`
	Password      string `yaml:"password,omitempty" secret:"true"`
	Auth          string `yaml:"auth,omitempty" secret:"true"`
	IdentityToken string `yaml:"identityToken,omitempty" secret:"true"`
}

// SystemDiskEncryptionConfig encrypts the system partitions.
type SystemDiskEncryptionConfig struct {
	State     *EncryptionConfig `yaml:"state,omitempty"`
	Ephemeral *EncryptionConfig `yaml:"ephemeral,omitempty"`
}

// EncryptionConfig is one partition's encryption.
type EncryptionConfig struct {
	Provider  string           `yaml:"provider"`
	Keys      []*EncryptionKey `yaml:"keys,omitempty"`
	Cipher    string           `yaml:"cipher,omitempty" enum:"aes-xts-plain64|xchacha12,aes-adiantum-plain64|xchacha20,aes-adiantum-plain64"`
	KeySize   uint             `yaml:"keySize,omitempty"`
	BlockSize uint64           `yaml:"blockSize,omitempty"`
	Options   []string         `yaml:"options,omitempty" enum:"no_read_workqueue|no_write_workqueue|same_cpu_crypt"`
}

// EncryptionKey is one key slot; exactly one source is set.
type EncryptionKey struct {
	Static *EncryptionKeyStatic `yaml:"static,omitempty"`
	NodeID *EncryptionKeyNodeID `yaml:"nodeID,omitempty"`
	KMS    *EncryptionKeyKMS    `yaml:"kms,omitempty"`
	Slot   int                  `yaml:"slot"`
	TPM    *EncryptionKeyTPM    `yaml:"tpm,omitempty"`
}

// EncryptionKeyStatic is a passphrase in the configuration.
type EncryptionKeyStatic struct {
	Passphrase string `yaml:"passphrase,omitempty" secret:"true"`
}

// EncryptionKeyNodeID derives the key from the node's UUID.
type EncryptionKeyNodeID struct{}

// EncryptionKeyKMS seals the key by a network service.
type EncryptionKeyKMS struct {
	Endpoint string `yaml:"endpoint"`
}

// EncryptionKeyTPM seals the key by the TPM.
type EncryptionKeyTPM struct {
	CheckSecurebootStatusOnEnroll *bool `yaml:"checkSecurebootStatusOnEnroll,omitempty"`
}

// FeaturesConfig switches features.
type FeaturesConfig struct {
	RBAC                     *bool                           `yaml:"rbac,omitempty" desc:"Check the roles of API callers."`
	StableHostname           *bool                           `yaml:"stableHostname,omitempty"`
	KubernetesTalosAPIAccess *KubernetesTalosAPIAccessConfig `yaml:"kubernetesTalosAPIAccess,omitempty" desc:"Pods of named namespaces may use the OS API."`
	ApidCheckExtKeyUsage     *bool                           `yaml:"apidCheckExtKeyUsage,omitempty"`
	DiskQuotaSupport         *bool                           `yaml:"diskQuotaSupport,omitempty"`
	KubePrism                *KubePrism                      `yaml:"kubePrism,omitempty" desc:"A load balancer for the Kubernetes API on localhost."`
	HostDNS                  *HostDNSConfig                  `yaml:"hostDNS,omitempty" desc:"A caching resolver on the host."`
}

// KubernetesTalosAPIAccessConfig opens the OS API to pods.
type KubernetesTalosAPIAccessConfig struct {
	Enabled                     *bool    `yaml:"enabled,omitempty"`
	AllowedRoles                []string `yaml:"allowedRoles,omitempty"`
	AllowedKubernetesNamespaces []string `yaml:"allowedKubernetesNamespaces,omitempty"`
}

// KubePrism is the local Kubernetes API load balancer.
type KubePrism struct {
	Enabled *bool `yaml:"enabled,omitempty"`
	Port    int   `yaml:"port,omitempty"`
}

// HostDNSConfig is the host's caching resolver.
type HostDNSConfig struct {
	Enabled              *bool `yaml:"enabled,omitempty"`
	ForwardKubeDNSToHost *bool `yaml:"forwardKubeDNSToHost,omitempty"`
	ResolveMemberNames   *bool `yaml:"resolveMemberNames,omitempty"`
}

// UdevConfig holds extra udev rules.
type UdevConfig struct {
	Rules []string `yaml:"rules,omitempty"`
}

// LoggingConfig lists where service logs go.
type LoggingConfig struct {
	Destinations []LoggingDestination `yaml:"destinations"`
}

// LoggingDestination is one receiver of logs: a tcp or udp URL.
type LoggingDestination struct {
	Endpoint  string            `yaml:"endpoint"`
	Format    string            `yaml:"format" enum:"json_lines"`
	ExtraTags map[string]string `yaml:"extraTags,omitempty"`
}

// KernelConfig lists modules.
type KernelConfig struct {
	Modules []*KernelModuleConfig `yaml:"modules,omitempty"`
}

// KernelModuleConfig is a module to load, with its parameters.
type KernelModuleConfig struct {
	Name       string   `yaml:"name"`
	Parameters []string `yaml:"parameters,omitempty"`
}

// MachineSeccompProfile is a seccomp profile for the kubelet.
type MachineSeccompProfile struct {
	Name  string         `yaml:"name"`
	Value map[string]any `yaml:"value" merge:"replace"`
}
