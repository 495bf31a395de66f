package config

import (
	"reflect"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// MaxBytes is the size above which a configuration is refused.
const MaxBytes = tree.MaxBytes

// Mask stands where a secret was in a redacted configuration, in base64 where the field holds base64.
const Mask = "******"

// Config is a loaded machine configuration.
type Config struct {
	// V1Alpha1 is the main document, nil if the stream has none.
	V1Alpha1 *V1Alpha1
	// Documents are the others, in the stream's order.
	Documents []Document

	raw        []byte
	mainNumber int
	numbers    []int // of Documents, in the stream
	notes      []string
}

// Bytes returns the bytes the configuration was loaded from, untouched.
func (c *Config) Bytes() []byte { return c.raw }

// Machine returns the machine section, empty (never nil) if there is none.
func (c *Config) Machine() *MachineConfig {
	if c == nil || c.V1Alpha1 == nil || c.V1Alpha1.Machine == nil {
		return &MachineConfig{}
	}

	return c.V1Alpha1.Machine
}

// Cluster returns the cluster section, empty (never nil) if there is none.
func (c *Config) Cluster() *ClusterConfig {
	if c == nil || c.V1Alpha1 == nil || c.V1Alpha1.Cluster == nil {
		return &ClusterConfig{}
	}

	return c.V1Alpha1.Cluster
}

// Network returns the machine's network section, empty (never nil) if there is none.
func (c *Config) Network() *NetworkConfig {
	if network := c.Machine().Network; network != nil {
		return network
	}

	return &NetworkConfig{}
}

// IsControlPlane tells whether the machine belongs to the control plane.
func (c *Config) IsControlPlane() bool {
	return c.Machine().Type == "controlplane" || c.Machine().Type == "init"
}

// MachineType returns controlplane, worker or unknown, older spellings translated.
func (c *Config) MachineType() string {
	switch {
	case c.IsControlPlane():
		return "controlplane"
	case c.Machine().Type == "worker" || c.Machine().Type == "join":
		return "worker"
	default:
		return "unknown"
	}
}

// Of returns the documents of one type, such as Of[*config.NetworkRuleConfig](c).
func Of[T Document](c *Config) []T {
	if c == nil {
		return nil
	}

	var found []T

	for _, document := range c.Documents {
		if d, ok := document.(T); ok {
			found = append(found, d)
		}
	}

	return found
}

// Bool returns the switch's value, or the default if it is not written.
func Bool(p *bool, fallback bool) bool {
	if p == nil {
		return fallback
	}

	return *p
}

// SchemaOf returns the Go type that describes a document: by its kind, "" for v1alpha1.
func SchemaOf(kind string) (reflect.Type, bool) {
	if kind == "" {
		return reflect.TypeFor[V1Alpha1](), true
	}

	t, ok := kinds()[kind]

	return t, ok
}

// KindOf reads a document's kind: "" for v1alpha1.
func KindOf(node *yaml.Node) string {
	kind := tree.Text(node, "kind")
	if kind == oldEndpoints {
		return "KubeSpanEndpointsConfig"
	}

	return kind
}

// oldEndpoints is how this system once called the kind KubeSpanEndpointsConfig; a machine may have it stored.
const oldEndpoints = "KubeSpanEndpoints"
