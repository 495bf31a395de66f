package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// Cluster is a cluster as state.yaml in its directory describes it.
type Cluster struct {
	Created      time.Time `yaml:"created"`
	Name         string    `yaml:"name"`
	Provisioner  string    `yaml:"provisioner"`
	CIDR         string    `yaml:"cidr"`
	Gateway      string    `yaml:"gateway"`
	Bridge       string    `yaml:"bridge"`
	Endpoint     string    `yaml:"endpoint"`
	Binaries     string    `yaml:"binaries"`
	Manifests    string    `yaml:"manifests"`
	KernelArgs   string    `yaml:"kernelArgs,omitempty"`
	ClientConfig string    `yaml:"clientConfig"`
	Context      string    `yaml:"context,omitempty"`
	Nameservers  []string  `yaml:"nameservers,omitempty"`
	Nodes        []Node    `yaml:"nodes"`
	VMs          *VMs      `yaml:"vms,omitempty"`
	MTU          int       `yaml:"mtu"`
	Bootstrapped bool      `yaml:"bootstrapped"`

	dir string
}

// ErrNone is a cluster that does not exist.
var ErrNone = errors.New("no such cluster")

// Load reads a cluster's state.
func Load(stateDir, name string) (*Cluster, error) {
	dir := filepath.Join(stateDir, name)

	data, err := os.ReadFile(filepath.Join(dir, "state.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q (looked for %s)", ErrNone, name, filepath.Join(dir, "state.yaml"))
	}

	if err != nil {
		return nil, fmt.Errorf("read cluster state: %w", err)
	}

	c := &Cluster{dir: dir}
	if err := yaml.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("read cluster state %s: %w", filepath.Join(dir, "state.yaml"), err)
	}

	return c, nil
}

func (c *Cluster) save() error {
	data, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode cluster state: %w", err)
	}

	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("make cluster directory: %w", err)
	}

	return atomicfile.Write(filepath.Join(c.dir, "state.yaml"), data, 0o600)
}

// Dir is the cluster's directory.
func (c *Cluster) Dir() string { return c.dir }

// ControlPlanes gives the addresses of the control planes.
func (c *Cluster) ControlPlanes() []string { return c.addresses("controlplane") }

// Addresses gives the addresses of all nodes.
func (c *Cluster) Addresses() []string {
	return append(c.addresses("controlplane"), c.addresses("worker")...)
}

func (c *Cluster) addresses(machineType string) []string {
	var out []string

	for _, n := range c.Nodes {
		if n.Type == machineType {
			out = append(out, n.Address)
		}
	}

	return out
}

// Node finds a node by name or address.
func (c *Cluster) Node(name string) (*Machine, error) {
	for _, n := range c.Nodes {
		if n.Name == name || n.Address == name {
			return &Machine{Node: n, cluster: c}, nil
		}
	}

	return nil, fmt.Errorf("cluster %s has no node %q", c.Name, name)
}

// Machines gives every node.
func (c *Cluster) Machines() []*Machine {
	out := make([]*Machine, len(c.Nodes))
	for i, n := range c.Nodes {
		out[i] = &Machine{Node: n, cluster: c}
	}

	return out
}

// Machine is a node and where it is kept.
type Machine struct {
	cluster *Cluster
	Node
}

func (m *Machine) dir() string           { return filepath.Join(m.cluster.dir, "nodes", m.Name) }
func (m *Machine) stateDir() string      { return filepath.Join(m.dir(), "state") }
func (m *Machine) varDir() string        { return filepath.Join(m.dir(), "var") }
func (m *Machine) rootDir() string       { return filepath.Join(m.dir(), "root") }
func (m *Machine) lockPath() string      { return filepath.Join(m.dir(), "lock") }
func (m *Machine) recordPath() string    { return filepath.Join(m.dir(), "machine.yaml") }
func (m *Machine) namespaceLink() string { return filepath.Join(namespaceDir, m.Name) }

// ConfigPath is the configuration that was made for the node.
func (m *Machine) ConfigPath() string { return filepath.Join(m.dir(), "config.yaml") }

// ConsolePath is the file with what the node printed.
func (m *Machine) ConsolePath() string { return filepath.Join(m.cluster.dir, m.Name+".log") }

// record is what a machine's supervisor keeps on disk about it.
type record struct {
	// Supervisor and Init are the processes; zero when they are not there.
	Supervisor process `yaml:"supervisor"`
	Init       process `yaml:"init"`
	BootID     string  `yaml:"bootID"`
	Boots      int     `yaml:"boots"`
	// Off is set after a power off.
	Off bool `yaml:"off"`
	// Trouble tells why the supervisor gave up.
	Trouble string `yaml:"trouble,omitempty"`
}

func (m *Machine) record() (record, error) {
	var r record

	data, err := os.ReadFile(m.recordPath())
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}

	if err != nil {
		return r, fmt.Errorf("read machine record: %w", err)
	}

	if err := yaml.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read machine record: %w", err)
	}

	return r, nil
}

func (m *Machine) keep(r record) error {
	data, err := yaml.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode machine record: %w", err)
	}

	return atomicfile.Write(m.recordPath(), data, 0o600)
}
