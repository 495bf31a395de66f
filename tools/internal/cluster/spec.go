// Package cluster makes, shows and removes clusters of sandbox nodes on this machine: each node is init as PID 1 in
// namespaces of its own, on a bridge, under a supervisor process that plays the hardware. Tests use it as a library.
package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Defaults of cluster create.
const (
	DefaultName        = "dactyl-default"
	DefaultCIDR        = "10.5.0.0/24"
	DefaultMTU         = 1500
	DefaultProvisioner = "sandbox"
	QEMU               = "qemu"
	DefaultWaitTimeout = 20 * time.Minute

	DefaultKubePrismPort = 7445
)

// Spec says what cluster to make.
type Spec struct {
	Name string
	// Provisioner is what nodes are made of; "" is DefaultProvisioner.
	Provisioner string
	// VMs says what virtual machines are like; only for QEMU.
	VMs VMs
	// StateDir holds a directory for each cluster; "" is ~/.dactyl/clusters.
	StateDir string
	CIDR     string
	// Endpoint is the host of the Kubernetes API; "" is the first control plane.
	Endpoint          string
	ControlPlanePort  int
	KubernetesVersion string
	DNSDomain         string
	InstallImage      string
	// InputDir holds controlplane.yaml, worker.yaml and talosconfig to use instead of generated ones.
	InputDir string
	// ClientConfig is the file that the client configuration is merged into; "" is ~/.dactyl/config.
	ClientConfig string
	// KernelArgs are added to each node's kernel command line.
	KernelArgs string
	// Binaries and Manifests are bound into each node as /usr/bin and /usr/share/dactyl/services; "" finds them beside
	// the running program.
	Binaries, Manifests string

	Patches, ControlPlanePatches, WorkerPatches []string
	Nameservers                                 []string
	RegistryMirrors, InsecureRegistries         []string
	// KubePrismPort is for each node's own load balancer; 0 is DefaultKubePrismPort.
	KubePrismPort               int
	ControlPlanes, Workers, MTU int
	WaitTimeout                 time.Duration
	NoDiscovery, KubeSpan       bool
	// NoConfig starts the nodes in maintenance mode; ApplyConfig then applies the configuration through the API.
	NoConfig, ApplyConfig bool
	// NoWait returns once the nodes were started.
	NoWait bool
}

// Complete fills in defaults and refuses what cannot be.
func (s *Spec) Complete() error {
	if s.Name == "" {
		s.Name = DefaultName
	}

	if s.CIDR == "" {
		s.CIDR = DefaultCIDR
	}

	if s.MTU == 0 {
		s.MTU = DefaultMTU
	}

	if s.WaitTimeout == 0 {
		s.WaitTimeout = DefaultWaitTimeout
	}

	if s.ControlPlanePort == 0 {
		s.ControlPlanePort = 6443
	}

	if s.Provisioner == "" {
		s.Provisioner = DefaultProvisioner
	}

	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`).MatchString(s.Name) {
		return fmt.Errorf("cluster name %q: use up to 40 lower case letters, digits and dashes", s.Name)
	}

	if s.ControlPlanes < 1 {
		return errors.New("a cluster needs at least one control plane (--controlplanes)")
	}

	if s.Workers < 0 {
		return fmt.Errorf("--workers %d: cannot be negative", s.Workers)
	}

	prefix, err := netip.ParsePrefix(s.CIDR)
	if err != nil || !prefix.Addr().Is4() {
		return fmt.Errorf("--cidr %q: write an IPv4 network such as %s", s.CIDR, DefaultCIDR)
	}

	// Nodes do not take addresses of pods and services for their own.
	for _, inner := range []string{"10.244.0.0/16", "10.96.0.0/12"} {
		if netip.MustParsePrefix(inner).Overlaps(prefix) {
			return fmt.Errorf("--cidr %s overlaps %s, the network of pods or services: choose another such as %s", s.CIDR, inner, DefaultCIDR)
		}
	}

	if err := s.completeNetwork(); err != nil {
		return err
	}

	if room := 1<<(32-prefix.Bits()) - 3; s.ControlPlanes+s.Workers > room {
		return fmt.Errorf("--cidr %s has room for %d nodes, %d are asked for", s.CIDR, max(room, 0), s.ControlPlanes+s.Workers)
	}

	return s.findPaths()
}

// completeNetwork refuses what a network or a configuration cannot have.
func (s *Spec) completeNetwork() error {
	if s.MTU < 576 || s.MTU > 65521 {
		return fmt.Errorf("--mtu %d: give between 576 and 65521", s.MTU)
	}

	for _, server := range s.Nameservers {
		if _, err := netip.ParseAddr(server); err != nil {
			return fmt.Errorf("--nameservers %q: write IP addresses", server)
		}
	}

	if s.KubePrismPort == 0 {
		s.KubePrismPort = DefaultKubePrismPort
	}

	for _, port := range []struct {
		flag string
		have int
	}{{"control-plane-port", s.ControlPlanePort}, {"kubeprism-port", s.KubePrismPort}} {
		if port.have < 1 || port.have > 65535 {
			return fmt.Errorf("--%s %d: give between 1 and 65535", port.flag, port.have)
		}
	}

	for _, mirror := range s.RegistryMirrors {
		host, address, _ := strings.Cut(mirror, "=")
		if parsed, err := url.Parse(address); host == "" || err != nil || parsed.Host == "" {
			return fmt.Errorf("--registry-mirror %q: write HOST=URL such as docker.io=http://%s:5000", mirror, s.gateway().Addr())
		}
	}

	return nil
}

func (s *Spec) findPaths() error {
	home, err := os.UserHomeDir()
	if err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}

	if !filepath.IsAbs(home) {
		return fmt.Errorf("HOME is %q, which is another place in each directory: set an absolute path", home)
	}

	if s.StateDir == "" {
		s.StateDir = filepath.Join(home, ".dactyl", "clusters")
	}

	if s.ClientConfig == "" {
		s.ClientConfig = filepath.Join(home, ".dactyl", "config")
	}

	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program's directory: %w", err)
	}

	dir := filepath.Dir(program)
	if s.Provisioner == QEMU {
		return s.VMs.complete(dir)
	}

	if s.Binaries, err = firstDir("daemons' binaries", s.Binaries, filepath.Join(dir, "bin")); err != nil {
		return err
	}

	s.Manifests, err = firstDir("service manifests", s.Manifests, filepath.Join(dir, "services"), filepath.Join(dir, "..", "deploy", "services"))

	return err
}

// firstDir takes the directory that was given, or the first of the others that exists.
func firstDir(what, given string, others ...string) (string, error) {
	if given != "" {
		others = []string{given}
	}

	for _, dir := range others {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return filepath.Abs(dir)
		}
	}

	return "", fmt.Errorf("no %s in %s: build them with `make build`", what, strings.Join(others, " or "))
}

// Node is one machine of a cluster.
type Node struct {
	Name    string `yaml:"name"`
	Type    string `yaml:"type"`
	Address string `yaml:"address"`
	MAC     string `yaml:"mac"`
	// Link is the host's end of the node's cable.
	Link string `yaml:"link"`
	// UUID is a virtual machine's in SMBIOS.
	UUID string `yaml:"uuid,omitempty"`
}

// nodes names the machines that a spec asks for, in order: control planes from the second address on, then workers.
func (s *Spec) nodes() []Node {
	prefix := netip.MustParsePrefix(s.CIDR).Masked()
	address := prefix.Addr().Next() // the bridge's own

	var nodes []Node

	add := func(machineType string, count int) {
		for i := range count {
			address = address.Next()
			id := s.hash(address.String())
			nodes = append(nodes, Node{
				Name: fmt.Sprintf("%s-%s-%d", s.Name, machineType, i+1), Type: machineType, Address: address.String(),
				// Locally administered unicast.
				MAC:  fmt.Sprintf("02:%s:%s:%s:%s:%s", id[0:2], id[2:4], id[4:6], id[6:8], id[8:10]),
				Link: "dv" + id[:12],
			})

			if s.Provisioner == QEMU {
				nodes[len(nodes)-1].UUID = fmt.Sprintf("%s-%s-4%s-8%s-%s", id[0:8], id[8:12], id[13:16], id[17:20], id[20:32])
			}
		}
	}

	add("controlplane", s.ControlPlanes)
	add("worker", s.Workers)

	return nodes
}

// Bridge is the name of the cluster's bridge.
func (s *Spec) bridge() string { return "dactyl-" + s.hash("")[:8] }

// hash is made from the state directory too: users may have clusters of one name.
func (s *Spec) hash(of string) string {
	sum := sha256.Sum256([]byte(filepath.Join(s.StateDir, s.Name) + "\x00" + of))

	return hex.EncodeToString(sum[:])
}

func (s *Spec) gateway() netip.Prefix {
	prefix := netip.MustParsePrefix(s.CIDR).Masked()

	return netip.PrefixFrom(prefix.Addr().Next(), prefix.Bits())
}
