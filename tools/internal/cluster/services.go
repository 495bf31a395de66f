package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
	"github.com/dactyl-os/dactyl/tools/internal/cluster/qemu"
)

// leaseTime is short enough to see leases renewed while one watches.
const leaseTime = 30 * time.Minute

func (c *Cluster) servicesPath() string { return filepath.Join(c.dir, "services.yaml") }

// services is the process that plays the rest of the network: DHCP server and load balancer.
func (c *Cluster) services() (process, error) {
	var p process

	data, err := os.ReadFile(c.servicesPath())
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}

	if err == nil {
		err = yaml.Unmarshal(data, &p)
	}

	if err != nil {
		return p, fmt.Errorf("read record of services: %w", err)
	}

	return p, nil
}

// startServices starts the process, unless it runs, and waits until it serves.
func (c *Cluster) startServices() error {
	p, err := c.services()
	if err != nil || p.alive() {
		return err
	}

	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}

	log, err := os.OpenFile(filepath.Join(c.dir, "services.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log of services: %w", err)
	}
	defer log.Close()

	cmd := exec.Command(program, "cluster", "machine", "--services", "--state", filepath.Dir(c.dir), "--name", c.Name)
	cmd.Dir, cmd.Env = "/", []string{"HOME=" + os.Getenv("HOME")}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start services: %w", err)
	}

	ended := make(chan struct{})

	go func() {
		_ = cmd.Wait() // the log tells

		close(ended)
	}()

	// It writes its record once it serves.
	for deadline := time.After(10 * time.Second); ; {
		if p, err := c.services(); err == nil && p.PID == cmd.Process.Pid {
			return nil
		}

		select {
		case <-ended:
			return fmt.Errorf("services do not start:\n%s", tail(log.Name(), 5))
		case <-deadline:
			return errors.Join(errors.New("services do not start in time"), cmd.Process.Kill())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// endServices ends the process.
func (c *Cluster) endServices() error {
	p, err := c.services()
	if err != nil {
		return err
	}

	return errors.Join(p.kill(syscall.SIGKILL), p.awaitGone(5*time.Second))
}

// ServeNetwork is that process: it serves until it is ended.
func ServeNetwork(ctx context.Context, stateDir, name string) error {
	c, err := Load(stateDir, name)
	if err != nil {
		return err
	}

	if c.VMs == nil {
		return fmt.Errorf("cluster %s has no virtual machines", name)
	}

	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	signal.Ignore(syscall.SIGHUP)

	gateway := netip.MustParsePrefix(c.Gateway)
	server := qemu.DHCP{Gateway: gateway, Nameservers: c.Nameservers, MTU: c.MTU, NoNames: c.VMs.NoNames, Lease: leaseTime}

	for _, n := range c.Nodes {
		server.Hosts = append(server.Hosts, qemu.Host{MAC: n.MAC, Name: n.Name, Address: netip.MustParseAddr(n.Address)})
	}

	failed := make(chan error, 1+len(c.VMs.Ports))

	go func() { failed <- server.Serve(ctx, c.Bridge) }()

	for _, port := range c.VMs.Ports {
		listener, err := net.Listen("tcp", netip.AddrPortFrom(gateway.Addr(), uint16(port)).String())
		if err != nil {
			return fmt.Errorf("balance port %d: %w", port, err)
		}

		var backends []string
		for _, address := range c.ControlPlanes() {
			backends = append(backends, net.JoinHostPort(address, strconv.Itoa(port)))
		}

		go func() { failed <- qemu.Balance(ctx, listener, backends) }()
	}

	if err := c.recordServices(); err != nil {
		return err
	}

	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func (c *Cluster) recordServices() error {
	self, err := identify(os.Getpid())
	if err != nil {
		return err
	}

	data, err := yaml.Marshal(self)
	if err != nil {
		return fmt.Errorf("encode record of services: %w", err)
	}

	return atomicfile.Write(c.servicesPath(), data, 0o600)
}
