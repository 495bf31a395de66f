package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Manage the client configuration file: contexts, endpoints, nodes",
		Example: "  dactylctl config merge ./talosconfig\n  dactylctl config endpoint 10.5.0.2 10.5.0.3\n  dactylctl config info",
	}
	cmd.AddCommand(a.configAddCommand(), a.configContextCommand(), a.configContextsCommand(), a.configEndpointCommand(), a.configInfoCommand(),
		a.configMergeCommand(), a.configNewCommand(), a.configNodeCommand(), a.configRemoveCommand())

	return cmd
}

// changeFile reads the client configuration, changes it and writes it back.
func (a *app) changeFile(change func(*clientconfig.Config) error) error {
	path, err := a.options.WritePath()
	if err != nil {
		return err
	}
	file, err := clientconfig.Read(path)
	if err != nil {
		return err
	}
	if err := change(file); err != nil {
		return err
	}

	return file.Write(path)
}

// changeContext is changeFile for the context in use.
func (a *app) changeContext(change func(*clientconfig.Context)) error {
	return a.changeFile(func(file *clientconfig.Config) error {
		current, err := file.Current(a.options.Context)
		if err != nil {
			return err
		}
		change(current)

		return nil
	})
}

func (a *app) configAddCommand() *cobra.Command {
	var ca, crt, key string
	cmd := &cobra.Command{
		Use: "add <context>", Short: "Add a context and make it the current one", Args: cobra.ExactArgs(1),
		Example: "  dactylctl config add my-cluster --ca ca.crt --crt admin.crt --key admin.key",
		RunE: func(_ *cobra.Command, args []string) error {
			if (crt == "") != (key == "") {
				return errors.New("a certificate and its key come together: give both --crt and --key")
			}
			var pems [3][]byte
			for i, path := range []string{ca, crt, key} {
				if path == "" {
					continue
				}
				var err error
				if pems[i], err = os.ReadFile(path); err != nil {
					return err
				}
			}

			return a.changeFile(func(file *clientconfig.Config) error {
				if file.Contexts[args[0]] != nil {
					return fmt.Errorf("the context %q is there already: remove it with config remove", args[0])
				}
				file.Contexts[args[0]] = clientconfig.NewContext([]string{}, pems[0], pems[1], pems[2])
				file.Context = args[0]

				return nil
			})
		},
	}
	cmd.Flags().StringVar(&ca, "ca", "", "file of the authority's certificate")
	cmd.Flags().StringVar(&crt, "crt", "", "file of the client's certificate")
	cmd.Flags().StringVar(&key, "key", "", "file of the client's key")

	return cmd
}

func (a *app) completeContext(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}

	return a.contextNames(), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) configContextCommand() *cobra.Command {
	return &cobra.Command{
		Use: "context <context>", Aliases: []string{"use-context"}, Short: "Choose the current context", Args: cobra.ExactArgs(1),
		Example: "  dactylctl config context my-cluster", ValidArgsFunction: a.completeContext,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.changeFile(func(file *clientconfig.Config) error {
				if _, err := file.Current(args[0]); err != nil {
					return err
				}
				file.Context = args[0]

				return nil
			})
		},
	}
}

func (a *app) configContextsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "contexts", Aliases: []string{"get-contexts"}, Short: "List the contexts", Args: cobra.NoArgs, Example: "  dactylctl config contexts",
		RunE: func(*cobra.Command, []string) error {
			file, err := clientconfig.Read(a.options.ConfigPath())
			if err != nil {
				return err
			}
			t := newTable(a.out, "CURRENT", "NAME", "ENDPOINTS", "NODES")
			for _, name := range a.contextNames() {
				mark := ""
				if name == file.Context {
					mark = "*"
				}
				t.row(mark, name, strings.Join(file.Contexts[name].Endpoints, ","), strings.Join(file.Contexts[name].Nodes, ","))
			}

			return t.flush()
		},
	}
}

func (a *app) configEndpointCommand() *cobra.Command {
	return &cobra.Command{
		Use: "endpoint <endpoint>...", Aliases: []string{"endpoints"}, Short: "Set the endpoints of the current context", Args: cobra.ArbitraryArgs,
		Example: "  dactylctl config endpoint 10.5.0.2 10.5.0.3 10.5.0.4",
		RunE: func(_ *cobra.Command, args []string) error {
			endpoints := commaSeparated(args)
			for _, e := range endpoints {
				if _, err := client.Endpoint(e); err != nil {
					return err
				}
			}

			return a.changeContext(func(c *clientconfig.Context) { c.Endpoints = endpoints })
		},
	}
}

func (a *app) configNodeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "node <endpoint>...", Aliases: []string{"nodes"}, Short: "Set the nodes of the current context", Args: cobra.ArbitraryArgs,
		Example: "  dactylctl config node 10.5.0.2",
		RunE: func(_ *cobra.Command, args []string) error {
			nodes := commaSeparated(args)
			for _, node := range nodes {
				if err := client.CheckNode(node); err != nil {
					return err
				}
			}

			return a.changeContext(func(c *clientconfig.Context) { c.Nodes = nodes })
		},
	}
}

// commaSeparated takes "a b" and "a,b" alike.
func commaSeparated(args []string) []string {
	out := []string{}
	for _, arg := range args {
		for part := range strings.SplitSeq(arg, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}

	return out
}

func (a *app) configMergeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "merge <from>", Short: "Add the contexts of another client configuration", Args: cobra.ExactArgs(1),
		Example: "  dactylctl config merge ./talosconfig",
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := os.Stat(args[0]); err != nil {
				return err
			}
			other, err := clientconfig.Read(args[0])
			if err != nil {
				return err
			}

			return a.changeFile(func(file *clientconfig.Config) error {
				for _, r := range file.Merge(other) {
					fmt.Fprintf(a.err, "renamed context %q -> %q\n", r.From, r.To)
				}

				return nil
			})
		},
	}
}

func (a *app) configRemoveCommand() *cobra.Command {
	var dryRun, yes bool
	cmd := &cobra.Command{
		Use: "remove <context>", Short: "Remove contexts", Long: "Remove the contexts whose names match: * stands for any text.", Args: cobra.ExactArgs(1),
		Example: "  dactylctl config remove my-cluster\n  dactylctl config remove 'test-*' --noconfirm", ValidArgsFunction: a.completeContext,
		RunE: func(_ *cobra.Command, args []string) error {
			matching := slices.DeleteFunc(a.contextNames(), func(name string) bool { return !wildcard(args[0], name) })
			if len(matching) == 0 {
				return fmt.Errorf("no context matches %q: config contexts lists them", args[0])
			}

			return a.changeFile(func(file *clientconfig.Config) error {
				for _, name := range matching {
					if name == file.Context && len(file.Contexts) > len(matching) {
						fmt.Fprintf(a.err, "%q is the current context: it stays; choose another first\n", name)

						continue
					}
					if dryRun {
						fmt.Fprintf(a.out, "would remove context %q\n", name)

						continue
					}
					if !yes && !a.confirm(fmt.Sprintf("remove context %q?", name)) {
						continue
					}
					delete(file.Contexts, name)
					if file.Context == name {
						file.Context = ""
					}
				}

				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be removed")
	cmd.Flags().BoolVarP(&yes, "noconfirm", "y", false, "do not ask")

	return cmd
}

// confirm asks on the terminal; anything but yes is no.
func (a *app) confirm(question string) bool {
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(a.in, &answer) // an empty line is no

	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}

// wildcard matches names in which * stands for any text.
func wildcard(pattern, name string) bool {
	head, rest, found := strings.Cut(pattern, "*")
	if !found {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	for i := len(head); i <= len(name); i++ {
		if wildcard(rest, name[i:]) {
			return true
		}
	}

	return false
}

// contextInfo is what config info shows.
type contextInfo struct {
	Context   string     `json:"context" yaml:"context"`
	Nodes     []string   `json:"nodes" yaml:"nodes"`
	Endpoints []string   `json:"endpoints" yaml:"endpoints"`
	Roles     []string   `json:"roles" yaml:"roles"`
	Expires   *time.Time `json:"certificateExpires,omitempty" yaml:"certificateExpires,omitempty"`
	File      string     `json:"file" yaml:"file"`
}

func (a *app) configInfoCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "info", Short: "Show the current context, its roles and when its certificate expires", Args: cobra.NoArgs, Example: "  dactylctl config info -o yaml",
		RunE: func(*cobra.Command, []string) error {
			info, err := a.contextInfo()
			if err != nil {
				return err
			}
			switch output {
			case "text":
				return a.printInfo(info, time.Now())
			case "json":
				enc := json.NewEncoder(a.out)
				enc.SetIndent("", "    ")

				return enc.Encode(info)
			case "yaml":
				data, err := yaml.Marshal(info)
				if err != nil {
					return err
				}
				_, err = a.out.Write(data)

				return err
			}

			return fmt.Errorf("unknown output %q: it is text, json or yaml", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "how to print: text, json or yaml")

	return cmd
}

func (a *app) contextInfo() (contextInfo, error) {
	info := contextInfo{File: a.options.ConfigPath(), Context: a.options.Context}
	file, err := clientconfig.Read(info.File)
	if err != nil {
		return info, err
	}
	current, err := file.Current(a.options.Context)
	if err != nil {
		return info, err
	}
	if info.Context == "" {
		info.Context = file.Context
	}
	info.Nodes, info.Endpoints = current.Nodes, current.Endpoints
	_, crt, _, err := current.PEM()
	if err != nil || len(crt) == 0 {
		return info, err
	}
	parsed, err := pki.ParseCertificate(crt)
	if err != nil {
		return info, err
	}
	info.Roles, info.Expires = parsed.Subject.Organization, &parsed.NotAfter

	return info, nil
}

func (a *app) printInfo(info contextInfo, now time.Time) error {
	list := func(values []string) string {
		if len(values) == 0 {
			return "not defined"
		}

		return strings.Join(values, ", ")
	}
	expires := "no certificate"
	if info.Expires != nil {
		left := info.Expires.Sub(now)
		expires = fmt.Sprintf("in %s (%s)", roughly(left), info.Expires.UTC().Format(time.DateOnly))
		if left < 0 {
			expires = fmt.Sprintf("EXPIRED %s ago (%s)", roughly(-left), info.Expires.UTC().Format(time.DateOnly))
		}
	}
	t := newTable(a.out)
	t.row("Current context:", info.Context)
	t.row("Nodes:", list(info.Nodes))
	t.row("Endpoints:", list(info.Endpoints))
	t.row("Roles:", list(info.Roles))
	t.row("Certificate expires:", expires)
	t.row("File:", info.File)

	return t.flush()
}

// roughly says a duration in its largest unit.
func roughly(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{365 * 24 * time.Hour, "year"}, {30 * 24 * time.Hour, "month"}, {24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(d / u.unit); n > 0 {
			if n > 1 {
				u.name += "s"
			}

			return fmt.Sprintf("%d %s", n, u.name)
		}
	}

	return "less than a minute"
}

func (a *app) configNewCommand() *cobra.Command {
	var (
		ttl   time.Duration
		roles []string
	)
	cmd := &cobra.Command{
		Use: "new [<path>]", Short: "Have a control plane node make a client configuration", Args: cobra.MaximumNArgs(1),
		Example: "  dactylctl -n 10.5.0.2 config new reader.conf --roles os:reader --crt-ttl 24h",
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "talosconfig"
			if len(args) == 1 {
				path = args[0]
			}

			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error {
				ctx, cancel := context.WithTimeout(ctx, quickly)
				defer cancel()
				answer, err := c.Machine.GenerateClientConfiguration(ctx, &machine.GenerateClientConfigurationRequest{Roles: roles, CrtTtl: durationpb.New(ttl)})
				if err != nil {
					return err
				}

				return client.Each(c, answer.GetMessages(), func(_ string, m *machine.GenerateClientConfiguration) error {
					return a.writeClientConfig(cmd, path, c, m)
				})
			})
		},
	}
	cmd.Flags().DurationVar(&ttl, "crt-ttl", 8760*time.Hour, "how long the certificate is valid")
	cmd.Flags().StringSliceVar(&roles, "roles", []string{"os:admin"}, "roles of the client")

	return cmd
}

// writeClientConfig gives the new file the endpoints that are known to work here.
func (a *app) writeClientConfig(cmd *cobra.Command, path string, c *client.Client, m *machine.GenerateClientConfiguration) error {
	file, err := clientconfig.Parse(m.GetTalosconfig())
	if err != nil {
		return err
	}
	current, err := file.Current("")
	if err != nil {
		return err
	}
	if len(current.Endpoints) == 0 {
		current.Endpoints = a.where(c)
	}
	data, err := file.Bytes()
	if err != nil {
		return err
	}

	return a.writeNew(cmd, path, data)
}
