package config

import "reflect"

// Document is one document of a machine configuration.
type Document interface {
	// Kind is the document's kind, "" for v1alpha1.
	Kind() string
	// DocumentName tells documents of one kind apart; "" where a kind has one document only.
	DocumentName() string
}

// Header is what every document except v1alpha1 starts with.
type Header struct {
	APIVersion   string `yaml:"apiVersion" enum:"v1alpha1"`
	DocumentKind string `yaml:"kind"`
}

// Kind returns the kind as written.
func (h *Header) Kind() string { return h.DocumentKind }

// DocumentName returns ""; kinds with a name replace it.
func (h *Header) DocumentName() string { return "" }

// VolumeConfig sizes and places a volume.
type VolumeConfig struct {
	Header       `yaml:",inline"`
	Name         string            `yaml:"name"`
	Provisioning *ProvisioningSpec `yaml:"provisioning,omitempty"`
}

// DocumentName returns the volume's name.
func (d *VolumeConfig) DocumentName() string { return d.Name }

// ProvisioningSpec is where and how large.
type ProvisioningSpec struct {
	DiskSelector *DiskSelector `yaml:"diskSelector,omitempty"`
	Grow         *bool         `yaml:"grow,omitempty"`
	MinSize      ByteSize      `yaml:"minSize,omitempty"`
	MaxSize      ByteSize      `yaml:"maxSize,omitempty"`
}

// DiskSelector is a CEL expression over a disk.
type DiskSelector struct {
	Match string `yaml:"match,omitempty"`
}

// ExtensionServiceConfig gives an extension service files and environment.
type ExtensionServiceConfig struct {
	Header      `yaml:",inline"`
	Name        string       `yaml:"name"`
	ConfigFiles []ConfigFile `yaml:"configFiles,omitempty" merge:"key=mountPath"`
	Environment []string     `yaml:"environment,omitempty"`
}

// DocumentName returns the service's name.
func (d *ExtensionServiceConfig) DocumentName() string { return d.Name }

// ConfigFile is a file mounted into an extension service.
type ConfigFile struct {
	Content   string `yaml:"content"`
	MountPath string `yaml:"mountPath"`
}

// NetworkDefaultActionConfig is the firewall's default.
type NetworkDefaultActionConfig struct {
	Header  `yaml:",inline"`
	Ingress string `yaml:"ingress" enum:"accept|block"`
}

// NetworkRuleConfig is one rule of the firewall.
type NetworkRuleConfig struct {
	Header       `yaml:",inline"`
	Name         string            `yaml:"name"`
	PortSelector *RulePortSelector `yaml:"portSelector,omitempty"`
	Ingress      []IngressRule     `yaml:"ingress,omitempty" merge:"replace"`
}

// DocumentName returns the rule's name.
func (d *NetworkRuleConfig) DocumentName() string { return d.Name }

// RulePortSelector is the ports a rule is about.
type RulePortSelector struct {
	Ports    []PortRange `yaml:"ports" merge:"replace"`
	Protocol string      `yaml:"protocol" enum:"tcp|udp|icmp|icmpv6"`
}

// IngressRule accepts from a subnet, with an exception.
type IngressRule struct {
	Subnet string `yaml:"subnet"`
	Except string `yaml:"except,omitempty"`
}

// KubeSpanEndpointsConfig announces more endpoints of this machine.
type KubeSpanEndpointsConfig struct {
	Header                  `yaml:",inline"`
	ExtraAnnouncedEndpoints []string `yaml:"extraAnnouncedEndpoints,omitempty"`
}

// EventSinkConfig sends events to host:port.
type EventSinkConfig struct {
	Header   `yaml:",inline"`
	Endpoint string `yaml:"endpoint"`
}

// KmsgLogConfig sends the kernel log to a tcp or udp URL.
type KmsgLogConfig struct {
	Header `yaml:",inline"`
	Name   string `yaml:"name"`
	URL    string `yaml:"url"`
}

// DocumentName returns the destination's name.
func (d *KmsgLogConfig) DocumentName() string { return d.Name }

// WatchdogTimerConfig is the hardware watchdog.
type WatchdogTimerConfig struct {
	Header  `yaml:",inline"`
	Device  string   `yaml:"device"`
	Timeout Duration `yaml:"timeout,omitempty"`
}

// TrustedRootsConfig adds PEM root certificates.
type TrustedRootsConfig struct {
	Header       `yaml:",inline"`
	Name         string `yaml:"name"`
	Certificates string `yaml:"certificates"`
}

// DocumentName returns the set's name.
func (d *TrustedRootsConfig) DocumentName() string { return d.Name }

// SideroLinkConfig joins a management service.
type SideroLinkConfig struct {
	Header `yaml:",inline"`
	APIURL string `yaml:"apiUrl" secret:"url"`
}

// kinds maps a kind to its type.
func kinds() map[string]reflect.Type {
	return map[string]reflect.Type{
		"VolumeConfig":               reflect.TypeFor[VolumeConfig](),
		"ExtensionServiceConfig":     reflect.TypeFor[ExtensionServiceConfig](),
		"NetworkDefaultActionConfig": reflect.TypeFor[NetworkDefaultActionConfig](),
		"NetworkRuleConfig":          reflect.TypeFor[NetworkRuleConfig](),
		"KubeSpanEndpointsConfig":    reflect.TypeFor[KubeSpanEndpointsConfig](),
		"EventSinkConfig":            reflect.TypeFor[EventSinkConfig](),
		"KmsgLogConfig":              reflect.TypeFor[KmsgLogConfig](),
		"WatchdogTimerConfig":        reflect.TypeFor[WatchdogTimerConfig](),
		"TrustedRootsConfig":         reflect.TypeFor[TrustedRootsConfig](),
		"SideroLinkConfig":           reflect.TypeFor[SideroLinkConfig](),
	}
}
