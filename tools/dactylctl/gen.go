package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
)

func (a *app) genCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "gen", Short: "Make configurations, secrets, keys and certificates",
		Example: "  dactylctl gen config my-cluster https://10.5.0.2:6443\n  dactylctl gen secrets -o secrets.yaml",
	}
	cmd.PersistentFlags().BoolVarP(&force, "force", "f", false, "write over files that are there")
	cmd.AddCommand(a.genConfigCommand(), a.genSecretsCommand(), a.genCACommand(), a.genKeyCommand(), a.genCSRCommand(), a.genCrtCommand(), a.genKeypairCommand())

	return cmd
}

// writeNew writes a file that must not exist yet, unless --force is given.
func (a *app) writeNew(cmd *cobra.Command, path string, data []byte) error {
	force := false
	if f := cmd.Flags().Lookup("force"); f != nil {
		force = f.Value.String() == "true"
	}
	if _, err := os.Lstat(path); err == nil && !force {
		return fmt.Errorf("%s is there already: use --force to write over it", path)
	}
	if dir := filepath.Dir(path); dir != "." {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "generated %s\n", path)

	return nil
}

type genConfigFlags struct {
	in                           generate.Input
	patches, patchesCP, patchesW []string
	output                       string
	types                        []string
	persist, discovery           bool
	version, secrets, talos      string
}

func (a *app) genConfigCommand() *cobra.Command {
	var f genConfigFlags
	cmd := &cobra.Command{
		Use:   "config <cluster name> <cluster endpoint>",
		Short: "Make the configurations of a new cluster",
		Long:  "Make controlplane.yaml, worker.yaml and talosconfig (the client configuration) of a new cluster. Keep them safe: they hold its secrets.",
		Args:  cobra.ExactArgs(2),
		Example: `  dactylctl gen config my-cluster https://10.5.0.2:6443
  dactylctl gen config my-cluster https://10.5.0.2:6443 --with-secrets secrets.yaml --config-patch @patch.yaml -o configs
  dactylctl gen config my-cluster https://10.5.0.2:6443 -t controlplane -o -`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.genConfig(cmd, args, f) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.in.AdditionalSANs, "additional-sans", nil, "more names and addresses for the certificate of the Kubernetes API")
	flags.StringArrayVar(&f.patches, "config-patch", nil, "change both configurations: a patch, or @FILE (may be given many times)")
	flags.StringArrayVar(&f.patchesCP, "config-patch-control-plane", nil, "change the configuration of control planes")
	flags.StringArrayVar(&f.patchesW, "config-patch-worker", nil, "change the configuration of workers")
	flags.StringVar(&f.in.DNSDomain, "dns-domain", generate.DefaultDNSDomain, "DNS domain of the cluster")
	flags.StringVar(&f.in.InstallDisk, "install-disk", generate.DefaultInstallDisk, "disk to install to")
	flags.StringVar(&f.in.InstallImage, "install-image", generate.DefaultInstallImage, "image to install")
	flags.StringVar(&f.in.KubernetesVersion, "kubernetes-version", generate.DefaultKubernetesVersion, "version of Kubernetes to run")
	flags.StringVarP(&f.output, "output", "o", "", "directory to write to, file if one type is asked for, - for the standard output (default is here)")
	flags.StringSliceVarP(&f.types, "output-types", "t", []string{"controlplane", "worker", "talosconfig"}, "what to write")
	flags.BoolVarP(&f.persist, "persist", "p", true, "machine.persist of the configurations")
	flags.StringSliceVar(&f.in.RegistryMirrors, "registry-mirror", nil, "mirrors of image registries: host=URL")
	flags.StringVar(&f.talos, "talos-version", "", "version of the contract to write for, v1.0 to v1.8 (default v1.8)")
	flags.StringVar(&f.version, "version", "v1alpha1", "version of the configuration")
	flags.BoolVar(&f.discovery, "with-cluster-discovery", true, "let members find each other")
	flags.BoolVar(&f.in.Docs, "with-docs", true, "explain the fields in comments")
	flags.BoolVar(&f.in.Examples, "with-examples", true, "show examples in comments")
	flags.BoolVar(&f.in.KubeSpan, "with-kubespan", false, "connect the nodes by KubeSpan")
	flags.StringVar(&f.secrets, "with-secrets", "", "use the secrets of a file that gen secrets wrote")

	return cmd
}

func (a *app) genConfig(cmd *cobra.Command, args []string, f genConfigFlags) error {
	if f.version != "v1alpha1" {
		return fmt.Errorf("unknown version %q: it is v1alpha1", f.version)
	}
	in := f.in
	var err error
	if in.Contract, err = generate.ParseContract(f.talos); err != nil {
		return err
	}
	in.ClusterName, in.Endpoint = args[0], args[1]
	in.NoPersist, in.NoDiscovery = !f.persist, !f.discovery
	if f.secrets != "" {
		data, err := os.ReadFile(f.secrets)
		if err != nil {
			return err
		}
		if in.Bundle, err = generate.LoadBundle(data); err != nil {
			return fmt.Errorf("%s: %w", f.secrets, err)
		}
	}
	out, err := generate.Config(in)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	if files["controlplane"], err = patched(out.ControlPlane, append(slices.Clone(f.patches), f.patchesCP...)); err != nil {
		return fmt.Errorf("control plane: %w", err)
	}
	if files["worker"], err = patched(out.Worker, append(slices.Clone(f.patches), f.patchesW...)); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if files["talosconfig"], err = out.Client.Bytes(); err != nil {
		return err
	}

	return a.writeConfigs(cmd, f, files)
}

func (a *app) writeConfigs(cmd *cobra.Command, f genConfigFlags, files map[string][]byte) error {
	names := map[string]string{"controlplane": "controlplane.yaml", "worker": "worker.yaml", "talosconfig": "talosconfig"}
	for _, t := range f.types {
		if names[t] == "" {
			return fmt.Errorf("unknown output type %q: it is controlplane, worker or talosconfig", t)
		}
	}
	for i, t := range f.types {
		if f.output == "-" {
			if i > 0 {
				fmt.Fprintln(a.out, "---")
			}
			if _, err := a.out.Write(files[t]); err != nil {
				return err
			}

			continue
		}
		path := filepath.Join(f.output, names[t])
		if info, err := os.Stat(f.output); len(f.types) == 1 && f.output != "" && (err != nil || !info.IsDir()) && filepath.Ext(f.output) != "" {
			path = f.output // one type and the name of a file
		}
		if err := a.writeNew(cmd, path, files[t]); err != nil {
			return err
		}
	}

	return nil
}

func (a *app) genSecretsCommand() *cobra.Command {
	var from, pkiDir, token, output, talos string
	cmd := &cobra.Command{
		Use:     "secrets",
		Short:   "Make the secrets of a cluster",
		Args:    cobra.NoArgs,
		Example: "  dactylctl gen secrets\n  dactylctl gen secrets --from-controlplane-config controlplane.yaml\n  dactylctl gen secrets --kubernetes-bootstrap-token TOKEN --from-kubernetes-pki /etc/kubernetes/pki",
		RunE: func(cmd *cobra.Command, _ []string) error {
			bundle, err := newBundle(from, pkiDir, token, talos)
			if err != nil {
				return err
			}
			data, err := bundle.Bytes()
			if err != nil {
				return err
			}
			if output == "-" {
				_, err = a.out.Write(data)

				return err
			}

			return a.writeNew(cmd, output, data)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from-controlplane-config", "", "take the secrets of a control plane's configuration")
	flags.StringVarP(&pkiDir, "from-kubernetes-pki", "p", "", "take the keys and certificates of a directory as kubeadm's /etc/kubernetes/pki")
	flags.StringVarP(&token, "kubernetes-bootstrap-token", "t", "", "bootstrap token of Kubernetes (with --from-kubernetes-pki)")
	flags.StringVarP(&output, "output-file", "o", "secrets.yaml", "file to write (-: standard output)")
	flags.StringVar(&talos, "talos-version", "", "version of the contract to write for, v1.0 to v1.8 (default v1.8)")

	return cmd
}

func newBundle(from, pkiDir, token, talos string) (*generate.Bundle, error) {
	switch {
	case from != "" && pkiDir != "":
		return nil, errors.New("take the secrets of a configuration or of a directory, not of both")
	case from != "":
		data, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		loaded, err := config.Load(data)
		if err != nil {
			return nil, oneByOne(from, err)
		}

		return generate.FromConfig(loaded)
	case pkiDir != "":
		return generate.FromKubernetesPKI(os.DirFS(pkiDir), token, time.Now())
	default:
		contract, err := generate.ParseContract(talos)
		if err != nil {
			return nil, err
		}

		return contract.NewBundle(time.Now())
	}
}
