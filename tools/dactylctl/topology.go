package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// topology is the nodes of a cluster, named by flags or found by discovery.
type topology struct {
	controlPlanes, workers []string
	initNode               string
}

func (t *topology) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&t.controlPlanes, "control-plane-nodes", nil, "control plane nodes of the cluster (default is those that discovery found)")
	flags.StringSliceVar(&t.workers, "worker-nodes", nil, "worker nodes of the cluster (default is those that discovery found)")
	flags.StringVar(&t.initNode, "init-node", "", "a control plane node, by its name of old")
}

// named are the control planes that flags name.
func (t *topology) named() []string {
	if t.initNode == "" || slices.Contains(t.controlPlanes, t.initNode) {
		return t.controlPlanes
	}

	return append([]string{t.initNode}, t.controlPlanes...)
}

// complete asks discovery when no flag names a node.
func (t *topology) complete(ctx context.Context, c *client.Client) error {
	t.controlPlanes, t.initNode = t.named(), ""
	if len(t.controlPlanes)+len(t.workers) > 0 {
		return nil
	}
	if err := t.discover(ctx, c); err != nil {
		return fmt.Errorf("find the members: %w", err)
	}

	return nil
}

func (t *topology) all() []string { return append(slices.Clone(t.controlPlanes), t.workers...) }

// discover takes the members that the node knows.
func (t *topology) discover(ctx context.Context, c *client.Client) error {
	items, err := fetch(ctx, c, resource.NewMetadata("cluster", "Members.cluster.talos.dev", "", resource.VersionUndefined))
	if err != nil {
		return err
	}
	var members []member
	for _, r := range items {
		spec, err := decodedSpec(r)
		if err != nil {
			return err
		}
		m, _ := spec.(map[string]any)
		addresses, _ := m["addresses"].([]any)
		one := member{worker: m["machineType"] == "worker"}
		for _, a := range addresses {
			one.addresses = append(one.addresses, fmt.Sprint(a))
		}
		members = append(members, one)
	}
	t.controlPlanes, t.workers = addressesOf(members)
	if len(t.controlPlanes) == 0 {
		return errors.New("discovery has found no control plane node: name them with --control-plane-nodes")
	}

	return nil
}

type member struct {
	worker    bool
	addresses []string
}

// addressesOf picks an address for each member: the first that no other member
// has, as machines may share addresses on lo and virtual ones.
func addressesOf(members []member) (controlPlanes, workers []string) {
	count := map[string]int{}
	for _, m := range members {
		for _, a := range m.addresses {
			count[a]++
		}
	}
	for _, m := range members {
		if len(m.addresses) == 0 {
			continue
		}
		own := slices.IndexFunc(m.addresses, func(a string) bool { return count[a] == 1 })
		address := m.addresses[max(own, 0)]
		if m.worker {
			workers = append(workers, address)
		} else {
			controlPlanes = append(controlPlanes, address)
		}
	}

	return controlPlanes, workers
}
