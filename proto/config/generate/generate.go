package generate

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// Defaults of gen config.
const (
	DefaultInstallDisk  = "/dev/sda"
	DefaultInstallImage = "ghcr.io/dactyl-os/installer:v1.8.4"
	DefaultDNSDomain    = "cluster.local"
)

// Input is what gen config is asked for; zero values take the defaults.
type Input struct {
	ClusterName string
	// Endpoint is the URL of the Kubernetes API.
	Endpoint          string
	Bundle            *Bundle
	Now               time.Time
	KubernetesVersion string
	InstallDisk       string
	InstallImage      string
	DNSDomain         string
	AdditionalSANs    []string
	// RegistryMirrors are host=URL.
	RegistryMirrors []string
	// ClientEndpoints are written into the client configuration; empty takes none.
	ClientEndpoints []string
	NoDiscovery     bool
	KubeSpan        bool
	NoPersist       bool
	Docs, Examples  bool
	// AllowSchedulingOnControlPlanes lets ordinary pods run there.
	AllowSchedulingOnControlPlanes bool
	// Contract is the version to write for.
	Contract Contract
}

// Output is the configurations of a cluster.
type Output struct {
	ControlPlane, Worker []byte
	Client               *clientconfig.Config
}

// Config makes the configurations of both machine types and of the client. Both are valid; before v1.8 not for containers.
func Config(in Input) (*Output, error) {
	if err := in.complete(); err != nil {
		return nil, err
	}

	controlPlane, err := in.machine("controlplane")
	if err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}

	worker, err := in.machine("worker")
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}

	client, err := Client(in.Bundle, in.ClusterName, in.ClientEndpoints, []string{"os:admin"}, in.Now, ClientTTL)
	if err != nil {
		return nil, err
	}

	return &Output{ControlPlane: controlPlane, Worker: worker, Client: client}, nil
}

// Client makes a client configuration of one context.
func Client(bundle *Bundle, context string, endpoints, roles []string, now time.Time, ttl time.Duration) (*clientconfig.Config, error) {
	pair, err := bundle.ClientPair(roles, now, ttl)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}

	if endpoints == nil {
		endpoints = []string{}
	}

	return &clientconfig.Config{
		Context:  context,
		Contexts: map[string]*clientconfig.Context{context: clientconfig.NewContext(endpoints, bundle.Certs.OS.Crt, pair.Crt, pair.Key)},
	}, nil
}

// Endpoint completes what people type: a host, host:port or URL becomes https://host:port.
func Endpoint(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}

	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("%q is not the URL of a Kubernetes API: write it like https://10.5.0.2:6443", text)
	}

	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "6443")
	}

	return u.String(), nil
}

func (in *Input) complete() error {
	endpoint, err := Endpoint(in.Endpoint)
	if err != nil {
		return err
	}

	in.Endpoint = endpoint

	if in.Now.IsZero() {
		in.Now = time.Now()
	}

	if in.Bundle == nil {
		if in.Bundle, err = in.Contract.NewBundle(in.Now); err != nil {
			return err
		}
	}

	for _, text := range []struct {
		to       *string
		fallback string
	}{
		{&in.KubernetesVersion, DefaultKubernetesVersion}, {&in.InstallDisk, DefaultInstallDisk},
		{&in.InstallImage, DefaultInstallImage}, {&in.DNSDomain, DefaultDNSDomain},
	} {
		if *text.to == "" {
			*text.to = text.fallback
		}
	}

	in.KubernetesVersion = strings.TrimPrefix(in.KubernetesVersion, "v")

	return in.check()
}

func (in *Input) machine(machineType string) ([]byte, error) {
	machine, err := in.machineSection(machineType)
	if err != nil {
		return nil, err
	}

	doc := &config.V1Alpha1{
		Version: "v1alpha1", Debug: new(false), Persist: new(!in.NoPersist), Machine: machine, Cluster: in.clusterSection(machineType),
	}

	var node yaml.Node
	if err := node.Encode(doc); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}

	if in.Docs || in.Examples {
		comment(&node, in.Docs, in.Examples)
	}

	data, err := tree.Encode([]*yaml.Node{&node})
	if err != nil {
		return nil, err
	}

	return data, judge(data)
}

func (in *Input) machineSection(machineType string) (*config.MachineConfig, error) {
	mirrors, err := in.mirrors()
	if err != nil {
		return nil, err
	}

	m := &config.MachineConfig{
		Type:     machineType,
		Token:    in.Bundle.TrustdInfo.Token,
		CA:       in.Bundle.Certs.OS,
		CertSANs: in.AdditionalSANs,
		Kubelet: &config.KubeletConfig{
			Image:                               kubeletImage(in.KubernetesVersion),
			DefaultRuntimeSeccompProfileEnabled: in.Contract.on(2),
			DisableManifestsDirectory:           in.Contract.on(3),
		},
		Network:    &config.NetworkConfig{},
		Install:    &config.InstallConfig{Disk: in.InstallDisk, Image: in.InstallImage, Wipe: new(false)},
		Registries: &config.RegistriesConfig{Mirrors: mirrors},
		Features:   in.features(),
	}

	if in.KubeSpan {
		m.Network.KubeSpan = &config.NetworkKubeSpan{Enabled: new(true)}
	}

	if machineType == "worker" {
		m.CA = &config.CertificateAndKey{Crt: m.CA.Crt}
	} else if in.Contract.since(8) {
		m.NodeLabels = map[string]string{"node.kubernetes.io/exclude-from-external-load-balancers": ""}
	}

	return m, nil
}

func (in *Input) features() *config.FeaturesConfig {
	f := &config.FeaturesConfig{
		RBAC: new(true), StableHostname: new(true), ApidCheckExtKeyUsage: in.Contract.on(3), DiskQuotaSupport: in.Contract.on(5),
	}

	if in.Contract.since(6) {
		f.KubePrism = &config.KubePrism{Enabled: new(true), Port: 7445}
	}

	if in.Contract.since(7) {
		f.HostDNS = &config.HostDNSConfig{Enabled: new(true), ForwardKubeDNSToHost: in.Contract.on(8)}
	}

	return f
}

func (in *Input) mirrors() (map[string]*config.RegistryMirrorConfig, error) {
	var mirrors map[string]*config.RegistryMirrorConfig

	for _, text := range in.RegistryMirrors {
		host, endpoint, found := strings.Cut(text, "=")
		if !found {
			return nil, fmt.Errorf("registry mirror %q is not host=URL", text)
		}

		if mirrors == nil {
			mirrors = map[string]*config.RegistryMirrorConfig{}
		}

		if mirrors[host] == nil {
			mirrors[host] = &config.RegistryMirrorConfig{}
		}

		mirrors[host].Endpoints = append(mirrors[host].Endpoints, endpoint)
	}

	return mirrors, nil
}

func (in *Input) clusterSection(machineType string) *config.ClusterConfig {
	c := &config.ClusterConfig{
		ID: in.Bundle.Cluster.ID, Secret: in.Bundle.Cluster.Secret,
		ControlPlane: &config.ControlPlaneConfig{Endpoint: in.Endpoint},
		ClusterName:  in.ClusterName,
		Network: &config.ClusterNetworkConfig{
			DNSDomain: in.DNSDomain, PodSubnets: []string{"10.244.0.0/16"}, ServiceSubnets: []string{"10.96.0.0/12"},
		},
		Token: in.Bundle.Secrets.BootstrapToken,
		CA:    &config.CertificateAndKey{Crt: in.Bundle.Certs.K8s.Crt},
		Discovery: &config.ClusterDiscoveryConfig{
			Enabled: new(!in.NoDiscovery),
			Registries: &config.DiscoveryRegistriesConfig{
				Kubernetes: &config.Disableable{Disabled: in.Contract.on(2)}, Service: &config.RegistryServiceConfig{},
			},
		},
	}

	if machineType == "controlplane" {
		in.controlPlaneSection(c)
	} else if !in.Contract.since(8) {
		c.ClusterName = ""
	}

	return c
}

func (in *Input) controlPlaneSection(c *config.ClusterConfig) {
	certs, image := in.Bundle.Certs, func(name string) string { return kubernetesImage(name, in.KubernetesVersion) }

	c.AESCBCEncryptionSecret = in.Bundle.Secrets.AESCBCEncryptionSecret
	c.SecretboxEncryptionSecret = in.Bundle.Secrets.SecretboxEncryptionSecret
	c.CA, c.AggregatorCA, c.ServiceAccount = certs.K8s, certs.K8sAggregator, certs.K8sServiceAccount
	c.Etcd = &config.EtcdConfig{CA: certs.Etcd}
	c.ControllerManager = &config.ControllerManagerConfig{Image: image("kube-controller-manager")}
	c.Proxy = &config.ProxyConfig{Image: image("kube-proxy")}
	c.Scheduler = &config.SchedulerConfig{Image: image("kube-scheduler")}
	c.APIServer = &config.APIServerConfig{
		Image:                    image("kube-apiserver"),
		CertSANs:                 in.apiServerSANs(),
		DisablePodSecurityPolicy: new(true),
		AdmissionControl:         []*config.AdmissionPluginConfig{{Name: "PodSecurity", Configuration: podSecurity()}},
	}

	if in.Contract.since(3) {
		c.APIServer.AuditPolicy = map[string]any{
			"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": []any{map[string]any{"level": "Metadata"}},
		}
	}

	switch {
	case !in.AllowSchedulingOnControlPlanes:
	case in.Contract.since(2):
		c.AllowSchedulingOnControlPlanes = new(true)
	default:
		c.AllowSchedulingOnMasters = new(true)
	}
}

func (in *Input) apiServerSANs() []string {
	u, err := url.Parse(in.Endpoint)
	if err != nil {
		return in.AdditionalSANs
	}

	return append([]string{u.Hostname()}, in.AdditionalSANs...)
}

// podSecurity holds namespaces to the baseline profile and warns below the restricted one.
func podSecurity() map[string]any {
	return map[string]any{
		"apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
		"kind":       "PodSecurityConfiguration",
		"defaults": map[string]any{
			"enforce": "baseline", "enforce-version": "latest",
			"audit": "restricted", "audit-version": "latest",
			"warn": "restricted", "warn-version": "latest",
		},
		"exemptions": map[string]any{"usernames": []any{}, "runtimeClasses": []any{}, "namespaces": []any{"kube-system"}},
	}
}
