package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	resources "github.com/dactyl-os/dactyl/proto/resource"
	clusterres "github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

const (
	// askLimit bounds one question to one node.
	askLimit = 5 * time.Second
	// askInterval is how long to wait before the next one.
	askInterval = 50 * time.Millisecond
)

// Client opens a connection to one node as the cluster's admin.
func (m *Machine) Client() (*client.Client, error) {
	return client.Open(client.Options{Config: filepath.Join(m.cluster.dir, "talosconfig"), Endpoints: []string{m.Address}})
}

// waitUp waits until every node answers, etcd has all its members and every node knows every other.
func (c *Cluster) waitUp(ctx context.Context, spec *Spec, p *progress) error {
	if spec.ApplyConfig && !spec.NoConfig {
		if err := p.step("applying configurations in maintenance mode", func() error { return c.each(ctx, p, applyConfig) }); err != nil {
			return err
		}
	}

	if spec.NoConfig {
		return p.step("waiting for maintenance mode", func() error { return c.each(ctx, p, inMaintenance) })
	}

	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"waiting for the API of every node", func() error { return c.each(ctx, p, answersVersion) }},
		{"bootstrapping etcd on " + c.Nodes[0].Name, func() error { return c.bootstrap(ctx, p) }},
		{"waiting for etcd members", func() error { return c.each(ctx, p, etcdComplete) }},
		{"waiting for cluster members", func() error { return c.each(ctx, p, knowsMembers) }},
		{"waiting for services", func() error { return c.each(ctx, p, servicesRun) }},
	} {
		if spec.NoDiscovery && step.name == "waiting for cluster members" {
			continue
		}

		if err := p.step(step.name, step.do); err != nil {
			return err
		}
	}

	return nil
}

// each polls every node at once until check gives nil for all of them.
func (c *Cluster) each(ctx context.Context, p *progress, check func(context.Context, *Machine) error) error {
	type result struct {
		err error
		m   *Machine
	}

	results := make(chan result)
	waiting := map[string]bool{}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	for _, m := range c.Machines() {
		waiting[m.Name] = true

		go func() { results <- result{m.await(ctx, p, check), m} }()
	}

	var errs []error

	for range c.Nodes {
		r := <-results
		delete(waiting, r.m.Name)

		if r.err != nil {
			errs = append(errs, r.err)

			cancel()
		}
	}

	// The others only stopped because of the first.
	errs = slices.DeleteFunc(errs, func(err error) bool { return len(errs) > 1 && errors.Is(err, context.Canceled) })

	return errors.Join(errs...)
}

// await polls one node. Its condition is looked at meanwhile: a node that does not boot is not waited for.
func (m *Machine) await(ctx context.Context, p *progress, check func(context.Context, *Machine) error) error {
	var last error

	for {
		err := ask(ctx, m, check)
		if err == nil {
			return nil
		}

		// The end of the wait says less than what was waited for.
		if last == nil || ctx.Err() == nil {
			last = err
		}

		p.note("%s: %s", m.Name, plain(err))

		if condition := m.Condition(); condition == Broken || condition == Off {
			r, _ := m.record()

			return fmt.Errorf("%s: %s: %s\nend of its console:\n%s", m.Name, condition, r.Trouble, tail(m.ConsolePath(), 15))
		}

		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}

			return fmt.Errorf("%s: not ready in time: %s; its console is %s", m.Name, plain(last), m.ConsolePath())
		case <-time.After(askInterval):
		}
	}
}

func ask(ctx context.Context, m *Machine, check func(context.Context, *Machine) error) error {
	limit := askLimit
	if m.cluster.VMs != nil {
		limit *= time.Duration(m.cluster.VMs.patience())
	}

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	return check(ctx, m)
}

// with opens a client for one question.
func with(m *Machine, use func(*client.Client) error) error {
	c, err := m.Client()
	if err != nil {
		return err
	}
	defer c.Close() // nothing was written

	if err = use(c); err == nil || !strings.Contains(err.Error(), "signed by unknown authority") {
		return err
	}

	// After a rotation of the CA the user's own client configuration is the one that is up to date.
	renewed, openErr := client.Open(client.Options{Config: m.cluster.ClientConfig, Context: m.cluster.Context, Endpoints: []string{m.Address}})
	if openErr != nil {
		return err
	}
	defer renewed.Close() // nothing was written

	return use(renewed)
}

func answersVersion(ctx context.Context, m *Machine) error {
	return with(m, func(c *client.Client) error {
		_, err := c.Machine.Version(ctx, &emptypb.Empty{})

		return err
	})
}

// bootstrap starts the etcd cluster on the first control plane, once in the cluster's life.
func (c *Cluster) bootstrap(ctx context.Context, p *progress) error {
	if c.Bootstrapped {
		return nil
	}

	first := c.Machines()[0]

	err := first.await(ctx, p, func(ctx context.Context, m *Machine) error {
		return with(m, func(client *client.Client) error {
			_, err := client.Machine.Bootstrap(ctx, &machine.BootstrapRequest{})
			if status.Code(err) == codes.AlreadyExists {
				return nil // by a run that was interrupted
			}

			return err
		})
	})
	if err != nil {
		return err
	}

	c.Bootstrapped = true

	return c.save()
}

// etcdComplete looks for every control plane as a full member, from each of them.
func etcdComplete(ctx context.Context, m *Machine) error {
	if m.Type != "controlplane" {
		return nil
	}

	return with(m, func(c *client.Client) error {
		answer, err := c.Machine.EtcdMemberList(ctx, &machine.EtcdMemberListRequest{})
		if err != nil {
			return err
		}

		members, learners := 0, 0

		for _, message := range answer.GetMessages() {
			for _, member := range message.GetMembers() {
				if members++; member.GetIsLearner() {
					learners++
				}
			}
		}

		if want := len(m.cluster.ControlPlanes()); members < want || learners > 0 {
			return fmt.Errorf("%d of %d etcd members, %d of them learners", members, want, learners)
		}

		return nil
	})
}

func knowsMembers(ctx context.Context, m *Machine) error {
	return with(m, func(c *client.Client) error {
		members, err := listMembers(ctx, c)
		if err == nil && len(members) < len(m.cluster.Nodes) {
			err = fmt.Errorf("knows %d of %d members", len(members), len(m.cluster.Nodes))
		}

		return err
	})
}

func listMembers(ctx context.Context, c *client.Client) ([]*clusterres.Member, error) {
	if err := resources.Register(); err != nil {
		return nil, fmt.Errorf("register resource types: %w", err)
	}

	list, err := state.WrapCore(c.State).List(ctx,
		resource.NewMetadata(clusterres.NamespaceName, clusterres.MemberType, "", resource.VersionUndefined))
	if err != nil {
		return nil, err
	}

	var members []*clusterres.Member

	for _, item := range list.Items {
		if member, ok := item.(*clusterres.Member); ok {
			members = append(members, member)
		}
	}

	return members, nil
}

func servicesRun(ctx context.Context, m *Machine) error {
	return with(m, func(c *client.Client) error {
		answer, err := c.Machine.ServiceList(ctx, &emptypb.Empty{})
		if err != nil {
			return err
		}

		for _, message := range answer.GetMessages() {
			for _, s := range message.GetServices() {
				if s.GetState() != "Running" && s.GetState() != "Skipped" {
					return fmt.Errorf("service %s is %s", s.GetId(), s.GetState())
				}
			}
		}

		return nil
	})
}

func inMaintenance(ctx context.Context, m *Machine) error {
	c, err := client.Open(client.Options{Insecure: true, Endpoints: []string{m.Address}})
	if err != nil {
		return err
	}
	defer c.Close() // nothing was written

	_, err = c.Machine.Version(ctx, &emptypb.Empty{})

	return err
}

// applyConfig gives a node in maintenance mode its configuration; one that has it already answers to the admin.
func applyConfig(ctx context.Context, m *Machine) error {
	if answersVersion(ctx, m) == nil {
		return nil
	}

	data, err := os.ReadFile(m.ConfigPath())
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}

	c, err := client.Open(client.Options{Insecure: true, Endpoints: []string{m.Address}})
	if err != nil {
		return err
	}
	defer c.Close() // the answer tells

	_, err = c.Machine.ApplyConfiguration(ctx, &machine.ApplyConfigurationRequest{Data: data, Mode: machine.ApplyConfigurationRequest_AUTO})

	return err
}

// plain leaves gRPC's decoration out of an error.
func plain(err error) string {
	message := err.Error()
	if s, ok := status.FromError(err); ok {
		message = s.Message()
	}

	return strings.TrimSpace(message)
}

// tail gives the last lines of a file.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}

	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")

	return "    " + strings.Join(all[max(0, len(all)-lines):], "\n    ")
}
