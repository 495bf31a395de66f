package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
	"github.com/dactyl-os/dactyl/tools/internal/rotate"
)

// keptSuffix is that of the new client configuration while a rotation is under way.
const keptSuffix = ".rotating"

type rotateFlags struct {
	topology
	dryRun, os, kubernetes bool
	output                 string
}

func (a *app) rotateCACommand() *cobra.Command {
	var f rotateFlags
	cmd := &cobra.Command{
		Use: "rotate-ca", Short: "Replace the certificate authority of the OS API", Args: cobra.NoArgs,
		Long: `Replace the certificate authority of the OS API on all nodes, without an interrupted call and without a reboot.

The new client configuration is kept beside the output (FILE.rotating) from before the first change on, and is moved to the output
when the rotation is done. A run that was cut off is repeated: how far it came is read from the nodes. Accepted CAs with the
organization of machine.ca are taken for parts of rotations, and are removed at the end; others stay.`,
		Example: `  dactylctl -n 10.5.0.2 rotate-ca --kubernetes=false
  dactylctl -n 10.5.0.2 rotate-ca --dry-run=false --kubernetes=false
  dactylctl config merge ./talosconfig`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.os {
				if err := a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error { return a.rotateOS(ctx, c, f) }); err != nil {
					return err
				}
			}
			if f.kubernetes {
				fmt.Fprintln(a.out, "> Kubernetes API PKI rotation: skipped, no Kubernetes on this node yet")
			}

			return nil
		},
	}
	f.topology.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.dryRun, "dry-run", true, "only show the steps, change nothing")
	flags.BoolVar(&f.os, "talos", true, "rotate the CA of the OS API")
	flags.BoolVar(&f.kubernetes, "kubernetes", true, "rotate the CA of the Kubernetes API (not available: there is no Kubernetes yet)")
	flags.StringVarP(&f.output, "output", "o", "talosconfig", "file for the new client configuration; other contexts in it stay")
	flags.String("k8s-endpoint", "", "endpoint of Kubernetes instead of the configured one (not available)")
	flags.Bool("with-docs", true, "for scripts: a configuration keeps the comments that it has")
	flags.Bool("with-examples", true, "for scripts: a configuration keeps the comments that it has")

	return cmd
}

func (a *app) rotateOS(ctx context.Context, c *client.Client, f rotateFlags) error {
	fmt.Fprintf(a.out, "> Starting Dactyl API PKI rotation, dry-run mode %v...\n> Using config context: %q\n> Using Dactyl API endpoints: %q\n", f.dryRun, c.Context, a.where(c))
	file, err := clientconfig.Read(a.options.ConfigPath())
	if err != nil {
		return err
	}
	current, err := file.Current(a.options.Context)
	if err != nil {
		return err
	}
	named := *current
	if len(named.Endpoints) == 0 {
		named.Endpoints = a.where(c)
	}
	out := newContext{name: c.Context, like: named, path: f.output}
	who, err := identity(current)
	if err != nil {
		return err
	}
	kept, err := out.kept()
	if err != nil {
		return err
	}
	r := &rotate.Rotator{
		Current: who, Kept: kept, Describe: out.text, Keep: out.keep, Out: a.out, Log: a.err, DryRun: f.dryRun, Patience: 2 * time.Minute,
		Open: func(who rotate.Identity) (rotate.Door, error) { return a.rotateDoor(out.with(who), c) },
		Save: func(who rotate.Identity) error {
			fmt.Fprintf(a.out, "> Writing new talosconfig to %q\n", f.output)

			return out.save(who)
		},
	}
	if err := a.rotateTopology(ctx, c, &f.topology, r, out); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "> Cluster topology:\n  - control plane nodes: %q\n  - worker nodes: %q\n", f.controlPlanes, f.workers)
	r.ControlPlanes, r.Workers = f.controlPlanes, f.workers

	return r.Run(ctx)
}

// rotateTopology asks for the members with the client configuration, or with what an interrupted run left.
func (a *app) rotateTopology(ctx context.Context, c *client.Client, t *topology, r *rotate.Rotator, out newContext) error {
	err := t.complete(ctx, c)
	if err == nil || len(r.Kept.CA) == 0 {
		return err
	}
	for _, who := range []rotate.Identity{{CA: append(bytes.Clone(r.Current.CA), r.Kept.CA...), Pair: r.Current.Pair}, r.Kept} {
		door, openErr := a.rotateDoor(out.with(who), c)
		if openErr != nil {
			return openErr
		}
		later := t.complete(client.WithNode(ctx, c.Targets()[0]), door.Client)
		if door.Close(); later == nil {
			return nil
		}
	}

	return err
}

// newContext is where the new client configuration goes, and what stays as it was.
type newContext struct {
	name string
	like clientconfig.Context
	path string
}

func identity(c *clientconfig.Context) (rotate.Identity, error) {
	ca, crt, key, err := c.PEM()

	return rotate.Identity{CA: ca, Pair: pki.Pair{Crt: crt, Key: key}}, err
}

func (n newContext) with(who rotate.Identity) *clientconfig.Context {
	made := clientconfig.NewContext(n.like.Endpoints, who.CA, who.Crt, who.Key)
	made.Nodes = n.like.Nodes

	return made
}

func (n newContext) file(who rotate.Identity) *clientconfig.Config {
	return &clientconfig.Config{Context: n.name, Contexts: map[string]*clientconfig.Context{n.name: n.with(who)}}
}

func (n newContext) text(who rotate.Identity) ([]byte, error) { return n.file(who).Bytes() }

// kept is what an interrupted run put aside.
func (n newContext) kept() (rotate.Identity, error) {
	file, err := clientconfig.Read(n.path + keptSuffix)
	if err != nil || file.Contexts[n.name] == nil {
		return rotate.Identity{}, err
	}

	return identity(file.Contexts[n.name])
}

func (n newContext) keep(who rotate.Identity) error { return n.file(who).Write(n.path + keptSuffix) }

func (n newContext) save(who rotate.Identity) error {
	file, err := clientconfig.Read(n.path)
	if err != nil {
		return err
	}
	file.Context, file.Contexts[n.name] = n.name, n.with(who)
	if err := file.Write(n.path); err != nil {
		return err
	}
	if err := os.Remove(n.path + keptSuffix); !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	return nil
}

// door is a client with one identity.
type door struct{ *client.Client }

func (a *app) rotateDoor(current *clientconfig.Context, like *client.Client) (door, error) {
	o := a.options
	if o.Nodes = like.Nodes; len(o.Endpoints) == 0 {
		o.Endpoints = like.Endpoints
	}
	c, err := client.OpenContext(like.Context, current, o)

	return door{c}, err
}

// at calls one node, and says of an error what it means there.
func (d door) at(ctx context.Context, node string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(client.WithNode(ctx, node), quickly)
	defer cancel()
	err := call(ctx)
	if err == nil {
		return nil
	}
	explained := errors.New(strings.TrimPrefix(client.Explain(err, []string{node}).Error(), node+": "))
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unimplemented:
		return rotate.Final(explained)
	}

	return explained
}

// Version is the tag of the node's version.
func (d door) Version(ctx context.Context, node string) (tag string, err error) {
	err = d.at(ctx, node, func(ctx context.Context) error {
		answer, err := d.Machine.Version(ctx, &emptypb.Empty{})
		if err != nil {
			return err
		}

		return client.Each(d.Client, answer.GetMessages(), func(_ string, m *machine.Version) error {
			tag = m.GetVersion().GetTag()

			return nil
		})
	})

	return tag, err
}

// Config is the node's machine configuration.
func (d door) Config(ctx context.Context, node string) (data []byte, err error) {
	err = d.at(ctx, node, func(ctx context.Context) error {
		data, err = fetchConfig(ctx, d.Client, "config", activeConfigID)

		return err
	})

	return data, err
}

// Apply gives the node another configuration, without a reboot.
func (d door) Apply(ctx context.Context, node string, data []byte, dryRun bool) error {
	return d.at(ctx, node, func(ctx context.Context) error {
		answer, err := d.Machine.ApplyConfiguration(ctx, &machine.ApplyConfigurationRequest{
			Data: data, Mode: machine.ApplyConfigurationRequest_NO_REBOOT, DryRun: dryRun,
		})

		return finish(d.Client, answer.GetMessages(), err)
	})
}

// apiCertificates is what of the resource is needed here.
type apiCertificates struct {
	Server struct {
		Crt string `yaml:"crt"`
	} `yaml:"server"`
	AcceptedCAs []struct {
		Crt string `yaml:"crt"`
	} `yaml:"acceptedCAs"`
}

// Certificates are those with which the node's gateway works.
func (d door) Certificates(ctx context.Context, node string) (server []byte, accepted [][]byte, err error) {
	var spec apiCertificates
	if err := d.at(ctx, node, func(ctx context.Context) error {
		items, err := fetch(ctx, d.Client, resource.NewMetadata("secrets", "ApiCertificates.secrets.talos.dev", "api", resource.VersionUndefined))
		if err != nil {
			return err
		}
		text, err := yaml.Marshal(items[0].Spec())
		if err != nil {
			return err
		}

		return yaml.Unmarshal(text, &spec)
	}); err != nil {
		return nil, nil, err
	}
	if server, err = base64.StdEncoding.DecodeString(spec.Server.Crt); err != nil {
		return nil, nil, fmt.Errorf("certificate of the node: %w", err)
	}
	for _, ca := range spec.AcceptedCAs {
		crt, err := base64.StdEncoding.DecodeString(ca.Crt)
		if err != nil {
			return nil, nil, fmt.Errorf("accepted CA of the node: %w", err)
		}
		accepted = append(accepted, crt)
	}

	return server, accepted, nil
}
