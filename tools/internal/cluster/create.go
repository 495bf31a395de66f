package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Create makes a cluster, or brings one that is there back to what it was asked to be. It tells what it does to out.
func Create(ctx context.Context, spec Spec, out io.Writer) (*Cluster, error) {
	if err := spec.Complete(); err != nil {
		return nil, err
	}

	if os.Getuid() != 0 {
		return nil, fmt.Errorf("the %s provisioner makes links: run it as root", spec.Provisioner)
	}

	unlock, err := lockCluster(spec.StateDir, spec.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()

	p := newProgress(out)

	c, err := Load(spec.StateDir, spec.Name)
	switch {
	case errors.Is(err, ErrNone):
		c, err = begin(&spec)
	case err == nil:
		err = c.resume(&spec, p)
	}

	if err != nil {
		return nil, err
	}

	limit := spec.WaitTimeout * time.Duration(c.patience(ctx, p))

	// Supervisors read it.
	if err := c.save(); err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	if err := c.bringUp(ctx, &spec, p); err != nil {
		return c, fmt.Errorf("%w\nthe cluster stays as it is: `dactylctl cluster create%s` with the same flags tries again, `dactylctl cluster destroy%s` removes it",
			err, c.nameFlag(), c.nameFlag())
	}

	return c, nil
}

// nameFlag is what a command needs to mean this cluster.
func (c *Cluster) nameFlag() string {
	var flags string

	if c.Provisioner != DefaultProvisioner {
		flags += " --provisioner " + c.Provisioner
	}

	if c.Name != DefaultName {
		flags += " --name " + c.Name
	}

	return flags
}

// lockCluster keeps two commands from changing one cluster at a time.
func lockCluster(stateDir, name string) (func(), error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}

	path := lockPath(stateDir, name)

	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock cluster: %w", err)
	}

	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()

		return nil, fmt.Errorf("another command works on cluster %q", name)
	}

	return func() { _ = os.Remove(path); _ = f.Close() }, nil
}

func lockPath(stateDir, name string) string { return filepath.Join(stateDir, "."+name+".lock") }

// begin writes the state first: whatever is made after it can be found and removed.
func begin(spec *Spec) (*Cluster, error) {
	c := &Cluster{
		Created: time.Now().UTC().Truncate(time.Second), Name: spec.Name, Provisioner: spec.Provisioner, CIDR: spec.CIDR,
		Gateway: spec.gateway().String(), Bridge: spec.bridge(), Endpoint: spec.Endpoint, Binaries: spec.Binaries,
		Manifests: spec.Manifests, KernelArgs: spec.KernelArgs, ClientConfig: spec.ClientConfig, Nameservers: spec.Nameservers,
		Nodes: spec.nodes(), MTU: spec.MTU, dir: filepath.Join(spec.StateDir, spec.Name),
	}

	if c.Endpoint == "" {
		c.Endpoint = c.Nodes[0].Address
	}

	if spec.Provisioner == QEMU {
		c.beginVMs(spec)
	}

	if err := c.refuseTakenNetwork(); err != nil {
		return nil, err
	}

	if err := c.save(); err != nil {
		return nil, err
	}

	// A configuration that cannot be leaves no cluster behind.
	if err := c.writeConfigs(spec); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}

	return c, nil
}

// resume says what is there already and refuses to turn it into something else.
func (c *Cluster) resume(spec *Spec, p *progress) error {
	if spec.Provisioner != c.Provisioner {
		return fmt.Errorf("cluster %q exists, made by the %s provisioner: remove it first with `dactylctl cluster destroy%s`, or choose another --name",
			c.Name, c.Provisioner, c.nameFlag())
	}

	if !slices.Equal(spec.nodes(), c.Nodes) || spec.CIDR != c.CIDR {
		return fmt.Errorf("cluster %q exists with %d control planes and %d workers on %s: remove it first with `dactylctl cluster destroy%s`, or choose another --name",
			c.Name, len(c.ControlPlanes()), len(c.Addresses())-len(c.ControlPlanes()), c.CIDR, c.nameFlag())
	}

	running := 0

	for _, m := range c.Machines() {
		switch condition := m.Condition(); condition {
		case Running:
			running++
		default:
			p.say("%s: %s, starting it again", m.Name, condition)
		}
	}

	if running == len(c.Nodes) {
		p.say("cluster %s is already running", c.Name)
	}

	if c.VMs != nil {
		spec.ApplyConfig = !spec.NoConfig && c.VMs.Injection == ""

		if err := c.change(spec, p); err != nil {
			return err
		}
	}

	if spec.Binaries != c.Binaries || spec.Manifests != c.Manifests {
		c.Binaries, c.Manifests = spec.Binaries, spec.Manifests
		p.say("nodes take their binaries from %s when they next start", c.Binaries)
	}

	return c.writeConfigs(spec)
}

// bringUp makes what is missing and waits until the cluster works.
func (c *Cluster) bringUp(ctx context.Context, spec *Spec, p *progress) error {
	if err := p.step("bridge "+c.Bridge+" with "+c.Gateway, c.ensureBridge); err != nil {
		return err
	}

	if c.VMs != nil {
		if err := p.step("DHCP server and load balancer", c.startServices); err != nil {
			return err
		}
	}

	if err := p.step(fmt.Sprintf("starting %d nodes", len(c.Nodes)), c.powerOn); err != nil {
		return err
	}

	if err := c.mergeClient(); err != nil {
		return err
	}

	if spec.NoWait {
		return nil
	}

	return c.waitUp(ctx, spec, p)
}

func (c *Cluster) powerOn() error {
	var errs []error

	for _, m := range c.Machines() {
		errs = append(errs, m.PowerOn())
	}

	return errors.Join(errs...)
}

// Destroy ends a cluster and removes everything it has on this machine.
func Destroy(_ context.Context, stateDir, name string, out io.Writer) error {
	spec := Spec{StateDir: stateDir, Name: name}
	if spec.Name == "" {
		spec.Name = DefaultName
	}

	if spec.StateDir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("find the home directory: %w", err)
		}

		spec.StateDir = filepath.Join(home, ".dactyl", "clusters")
	}

	c, err := Load(spec.StateDir, spec.Name)
	if errors.Is(err, ErrNone) {
		// State is written first and removed last: a directory without it holds nothing that runs.
		_ = os.Remove(lockPath(spec.StateDir, spec.Name))

		return errors.Join(os.RemoveAll(filepath.Join(spec.StateDir, spec.Name)), removeEmpty(spec.StateDir))
	}

	if err != nil {
		return err
	}

	unlock, err := lockCluster(spec.StateDir, spec.Name)
	if err != nil {
		return err
	}

	p := newProgress(out)
	err = c.tearDown(p)

	unlock()

	return errors.Join(err, removeEmpty(spec.StateDir))
}

func (c *Cluster) tearDown(p *progress) error {
	err := p.step(fmt.Sprintf("ending %d nodes", len(c.Nodes)), func() error {
		errs := make([]error, len(c.Nodes))
		done := make(chan struct{})

		for i, m := range c.Machines() {
			go func() {
				errs[i] = m.PullPlug()
				done <- struct{}{}
			}()
		}

		for range c.Nodes {
			<-done
		}

		return errors.Join(errs...)
	})
	if err != nil {
		return err
	}

	if err := c.endServices(); err != nil {
		return err
	}

	return p.step("removing bridge, client context and files", func() error {
		if err := errors.Join(removeLink(c.Bridge), c.unmergeClient()); err != nil {
			return err
		}

		if root, err := cgroupRoot(); err == nil {
			_ = os.Remove(filepath.Join(root, c.Bridge))
		}

		return os.RemoveAll(c.dir)
	})
}

// removeEmpty removes the state directory and the one above it when nothing is in them any more.
func removeEmpty(stateDir string) error {
	_ = os.Remove(stateDir)

	if filepath.Base(filepath.Dir(stateDir)) == ".dactyl" {
		_ = os.Remove(filepath.Dir(stateDir))
	}

	return nil
}
