package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/tools/internal/cluster"
)

func createCommand(g *global) *cobra.Command {
	spec := &cluster.Spec{}

	var wait, discovery bool

	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a cluster on this machine, or bring it back",
		Args:  cobra.NoArgs,
		Example: `  dactylctl cluster create --controlplanes 3 --workers 1
  dactylctl cluster create --name lab --cidr 10.6.0.0/24 --config-patch @patch.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec.Name, spec.StateDir, spec.Provisioner = g.name, g.state, g.provisioner
			spec.NoWait, spec.NoDiscovery = !wait, !discovery
			spec.VMs.Given = map[string]bool{}
			cmd.Flags().Visit(func(f *pflag.Flag) { spec.VMs.Given[f.Name] = true })
			warnUnused(cmd, g.provisioner)

			return create(cmd, spec)
		},
	}

	flags := cmd.Flags()
	flags.IntVar(&spec.ControlPlanes, "controlplanes", 1, "number of control planes")
	flags.IntVar(&spec.Workers, "workers", 1, "number of workers")
	flags.StringVar(&spec.CIDR, "cidr", cluster.DefaultCIDR, "network of the nodes; its first address is the host's")
	flags.IntVar(&spec.MTU, "mtu", cluster.DefaultMTU, "MTU of the nodes' network")
	flags.StringSliceVar(&spec.Nameservers, "nameservers", []string{"8.8.8.8", "1.1.1.1"}, "resolvers of the nodes")
	flags.StringVar(&spec.Endpoint, "endpoint", "", "host of the Kubernetes API (default: the first control plane)")
	flags.IntVar(&spec.ControlPlanePort, "control-plane-port", 6443, "port of the Kubernetes API")
	flags.StringVar(&spec.KubernetesVersion, "kubernetes-version", generate.DefaultKubernetesVersion, "Kubernetes version in the configurations")
	flags.StringVar(&spec.DNSDomain, "dns-domain", generate.DefaultDNSDomain, "DNS domain of the Kubernetes cluster")
	flags.StringVar(&spec.InstallImage, "install-image", generate.DefaultInstallImage, "installer image in the configurations")
	flags.StringSliceVar(&spec.RegistryMirrors, "registry-mirror", nil, "registry mirrors as host=URL")
	flags.StringSliceVar(&spec.InsecureRegistries, "registry-insecure-skip-verify", nil, "registries whose certificates are not verified")
	flags.IntVar(&spec.KubePrismPort, "kubeprism-port", cluster.DefaultKubePrismPort, "port of the nodes' own load balancer for the Kubernetes API")
	flags.StringArrayVar(&spec.Patches, "config-patch", nil, "patch for every node's configuration; @FILE reads it from a file")
	flags.StringArrayVar(&spec.ControlPlanePatches, "config-patch-control-plane", nil, "patch for control planes")
	flags.StringArrayVar(&spec.WorkerPatches, "config-patch-worker", nil, "patch for workers")
	flags.StringVarP(&spec.InputDir, "input-dir", "i", "", "directory with controlplane.yaml, worker.yaml and talosconfig to use")
	flags.StringVar(&spec.ClientConfig, "talosconfig", "", "client configuration to merge the cluster into (default ~/.dactyl/config)")
	flags.StringVar(&spec.KernelArgs, "extra-boot-kernel-args", "", "added to each node's kernel command line")
	flags.BoolVar(&spec.NoConfig, "skip-injecting-config", false, "start the nodes without configuration, in maintenance mode")
	flags.BoolVar(&spec.ApplyConfig, "with-apply-config", false, "start in maintenance mode and apply the configurations through the API")
	flags.BoolVar(&spec.KubeSpan, "with-kubespan", false, "enable KubeSpan in the configurations")
	flags.BoolVar(&discovery, "with-cluster-discovery", true, "enable discovery of members")
	flags.BoolVar(&wait, "wait", true, "wait until the cluster works")
	flags.DurationVar(&spec.WaitTimeout, "wait-timeout", cluster.DefaultWaitTimeout, "how long to wait")
	flags.StringVar(&spec.Binaries, "binaries", "", "directory with the daemons (default: bin beside this program)")
	flags.StringVar(&spec.Manifests, "manifests", "", "directory with the service manifests (default: deploy/services of the checkout)")
	vmFlags(flags, &spec.VMs)
	unusedFlags(flags)

	return cmd
}

func create(cmd *cobra.Command, spec *cluster.Spec) error {
	for _, patches := range []*[]string{&spec.Patches, &spec.ControlPlanePatches, &spec.WorkerPatches} {
		var err error
		if *patches, err = atFiles(*patches); err != nil {
			return err
		}
	}

	// Progress and tables go one way: what a script reads comes last.
	c, err := cluster.Create(cmd.Context(), *spec, cmd.OutOrStdout())
	if err != nil {
		return err
	}

	if err := c.Show(cmd.Context(), cmd.OutOrStdout()); err != nil {
		return err
	}

	c.Hints(cmd.OutOrStdout())

	return nil
}

// unusedFlags take what other provisioners need, so that scripts work unchanged.
func unusedFlags(flags *pflag.FlagSet) {
	texts := []string{
		"docker-host-ip", "exposed-ports", "image", "disk-image-path", "cni-bundle-url", "cni-cache-dir", "cni-bin-path", "cni-conf-dir", "ipxe-boot-script", "talos-version", "custom-cni-url",
		"disk-encryption-key-types", "extra-uefi-search-paths", "mount", "no-masquerade-cidrs", "user-disk", "wireguard-cidr", "with-firewall", "with-siderolink",
		"with-network-bandwidth", "with-network-jitter", "with-network-latency", "with-network-packet-corrupt", "with-network-packet-loss", "with-network-packet-reorder",
	}
	switches := []string{
		"docker-disable-ipv6", "disk-preallocate", "with-uefi", "with-tpm2", "with-debug", "crashdump",
		"skip-kubeconfig", "skip-k8s-node-readiness-check", "ipv4", "encrypt-state", "encrypt-ephemeral",
		"ipv6", "init-node-as-endpoint", "use-vip", "with-init-node", "with-network-chaos", "with-uuid-hostnames",
	}

	for _, name := range texts {
		flags.String(name, "", unusedNote)
	}

	for _, name := range switches {
		flags.Bool(name, false, unusedNote)
	}

	flags.Lookup("with-siderolink").NoOptDefVal = "true"
	flags.VisitAll(func(f *pflag.Flag) { f.Hidden = f.Hidden || f.Usage == unusedNote })
}

const unusedNote = "not used by this provisioner"

func warnUnused(cmd *cobra.Command, provisioner string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Usage == unusedNote || strings.HasPrefix(f.Usage, onlyVMs) && provisioner != cluster.QEMU {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: --%s is %s\n", f.Name, unusedNote)
		}
	})

	if on, err := cmd.Flags().GetBool("with-bootloader"); err == nil && on && provisioner == cluster.QEMU {
		fmt.Fprintln(cmd.ErrOrStderr(), "note: nodes boot from the kernel and initramfs every time: there is no installer yet")
	}
}
