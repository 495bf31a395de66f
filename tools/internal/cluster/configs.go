package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/config/patch"
	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// writeConfigs makes the cluster's secrets and configurations, and each node's own, unless a run before has.
func (c *Cluster) writeConfigs(spec *Spec) error {
	out, err := c.configs(spec)
	if err != nil {
		return err
	}

	if err := c.writeClient(out.Client); err != nil {
		return err
	}

	for name, data := range map[string][]byte{"controlplane.yaml": out.ControlPlane, "worker.yaml": out.Worker} {
		if err := atomicfile.Write(filepath.Join(c.dir, name), data, 0o600); err != nil {
			return err
		}
	}

	for _, m := range c.Machines() {
		if err := m.writeConfig(spec, out); err != nil {
			return fmt.Errorf("configure %s: %w", m.Name, err)
		}
	}

	return nil
}

// writeClient keeps the first client configuration: a new certificate would be a second context for the user.
func (c *Cluster) writeClient(client *clientconfig.Config) error {
	path := filepath.Join(c.dir, "talosconfig")
	if _, err := os.Stat(path); err == nil {
		return nil
	}

	return client.Write(path)
}

// configs reads the configurations from the input directory, or generates them from secrets that are kept.
func (c *Cluster) configs(spec *Spec) (*generate.Output, error) {
	if spec.InputDir != "" {
		return inputs(spec.InputDir)
	}

	bundle, err := c.secrets()
	if err != nil {
		return nil, err
	}

	return generate.Config(generate.Input{
		ClusterName: c.Name, Endpoint: "https://" + net.JoinHostPort(c.Endpoint, strconv.Itoa(spec.ControlPlanePort)), Bundle: bundle,
		KubernetesVersion: spec.KubernetesVersion, DNSDomain: spec.DNSDomain, InstallImage: spec.InstallImage,
		RegistryMirrors: spec.RegistryMirrors, ClientEndpoints: c.ControlPlanes(), NoDiscovery: spec.NoDiscovery, KubeSpan: spec.KubeSpan,
		AllowSchedulingOnControlPlanes: spec.Workers == 0,
	})
}

func inputs(dir string) (*generate.Output, error) {
	controlPlane, err := os.ReadFile(filepath.Join(dir, "controlplane.yaml"))
	worker, err1 := os.ReadFile(filepath.Join(dir, "worker.yaml"))
	client, err2 := clientconfig.Read(filepath.Join(dir, "talosconfig"))

	if err := errors.Join(err, err1, err2); err != nil {
		return nil, fmt.Errorf("read --input-dir: %w", err)
	}

	return &generate.Output{ControlPlane: controlPlane, Worker: worker, Client: client}, nil
}

func (c *Cluster) secrets() (*generate.Bundle, error) {
	path := filepath.Join(c.dir, "secrets.yaml")

	data, err := os.ReadFile(path)
	if err == nil {
		return generate.LoadBundle(data)
	}

	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read secrets: %w", err)
	}

	bundle, err := generate.NewBundle(time.Now())
	if err != nil {
		return nil, err
	}

	if data, err = bundle.Bytes(); err != nil {
		return nil, err
	}

	return bundle, atomicfile.Write(path, data, 0o600)
}

// writeConfig puts the node's configuration where the node looks for it. Once the node has a configuration that one counts: it
// may have been changed through the API.
func (m *Machine) writeConfig(spec *Spec, out *generate.Output) error {
	data, err := m.config(spec, out)
	if err != nil {
		return err
	}

	if err := os.MkdirAll(m.stateDir(), 0o755); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}

	if err := atomicfile.Write(m.ConfigPath(), data, 0o600); err != nil {
		return err
	}

	path := filepath.Join(m.stateDir(), "config.yaml")
	if _, err := os.Stat(path); err == nil || spec.NoConfig || spec.ApplyConfig {
		return nil
	}

	return atomicfile.Write(path, data, 0o600)
}

// config is the machine type's configuration, patched for one node.
func (m *Machine) config(spec *Spec, out *generate.Output) ([]byte, error) {
	data, patches := out.ControlPlane, spec.ControlPlanePatches
	if m.Type == "worker" {
		data, patches = out.Worker, spec.WorkerPatches
	}

	own, err := patch.LoadAll(m.patches(spec))
	if err != nil {
		return nil, err
	}

	given, err := patch.LoadAll(append(append([]string{}, spec.Patches...), patches...))
	if err != nil {
		return nil, fmt.Errorf("--config-patch: %w", err)
	}

	if data, err = patch.Apply(data, append(own, given...)...); err != nil {
		return nil, fmt.Errorf("--config-patch: %w", err)
	}

	parsed, err := config.Load(data)
	if err != nil {
		return nil, err
	}

	mode := config.Container
	if m.cluster.VMs != nil {
		mode = config.Metal
	}

	_, err = parsed.Validate(mode, config.New)

	return data, err
}

// patches are what the cluster's own settings change for one node. They come first, so that a given patch may say otherwise.
func (m *Machine) patches(spec *Spec) []string {
	var texts []string

	if spec.KubePrismPort != DefaultKubePrismPort {
		texts = append(texts, fmt.Sprintf("machine: {features: {kubePrism: {port: %d}}}", spec.KubePrismPort))
	}

	for _, host := range spec.InsecureRegistries {
		texts = append(texts, fmt.Sprintf("machine: {registries: {config: {%q: {tls: {insecureSkipVerify: true}}}}}", host))
	}

	if m.cluster.VMs != nil {
		texts = append(texts, "machine: {install: {disk: /dev/vda}}")
	}

	if len(m.cluster.Nameservers) > 0 {
		texts = append(texts, fmt.Sprintf("machine: {network: {nameservers: [%s]}}", join(m.cluster.Nameservers)))
	}

	return append(texts, "machine: {network: {hostname: "+m.Name+"}}")
}

func join(list []string) string {
	var out string

	for i, s := range list {
		if i > 0 {
			out += ", "
		}

		out += strconv.Quote(s)
	}

	return out
}

// mergeClient adds the cluster's context to the user's client configuration and selects it.
func (c *Cluster) mergeClient() error {
	own, err := clientconfig.Read(filepath.Join(c.dir, "talosconfig"))
	if err != nil {
		return err
	}

	file, err := clientconfig.Read(c.ClientConfig)
	if err != nil {
		return err
	}

	c.Context = own.Context
	for _, rename := range file.Merge(own) {
		if rename.From == own.Context {
			c.Context = rename.To
		}
	}

	if err := file.Write(c.ClientConfig); err != nil {
		return err
	}

	return c.save()
}

// unmergeClient takes the cluster's context out again, and the file away when nothing is left in it.
func (c *Cluster) unmergeClient() error {
	own, err := clientconfig.Read(filepath.Join(c.dir, "talosconfig"))
	if err != nil || own.Contexts[own.Context] == nil {
		return err
	}

	file, err := clientconfig.Read(c.ClientConfig)
	if err != nil {
		return err
	}

	// The context may have another name by now, or was merged by a command that was killed before it wrote that down; after a
	// rotation it has another CA.
	made := own.Contexts[own.Context]
	before := len(file.Contexts)
	maps.DeleteFunc(file.Contexts, func(name string, context *clientconfig.Context) bool {
		return context.CA == made.CA || name == c.Context && slices.Equal(context.Endpoints, made.Endpoints)
	})

	if len(file.Contexts) == before {
		return nil
	}

	if len(file.Contexts) == 0 {
		return os.Remove(c.ClientConfig)
	}

	if file.Contexts[file.Context] == nil {
		file.Context = ""
		for name := range file.Contexts {
			if file.Context == "" || name < file.Context {
				file.Context = name
			}
		}
	}

	return file.Write(c.ClientConfig)
}
