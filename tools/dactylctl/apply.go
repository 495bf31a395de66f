package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dactyl-os/dactyl/proto/config/patch"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// applyFlags are those of every command that changes the machine configuration.
type applyFlags struct {
	mode    string
	dryRun  bool
	timeout time.Duration
}

func (f *applyFlags) add(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.mode, "mode", "m", "auto", "how to apply: auto, no-reboot, reboot, staged or try")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only show what would change, and who acts on it")
	cmd.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "time after which a tried configuration is taken back (mode try)")
	a.complete(cmd, "mode", func(string) []string { return []string{"auto", "no-reboot", "reboot", "staged", "try"} })
}

func (f *applyFlags) request(data []byte) (*machine.ApplyConfigurationRequest, error) {
	mode, ok := map[string]machine.ApplyConfigurationRequest_Mode{
		"auto": machine.ApplyConfigurationRequest_AUTO, "no-reboot": machine.ApplyConfigurationRequest_NO_REBOOT,
		"reboot": machine.ApplyConfigurationRequest_REBOOT, "staged": machine.ApplyConfigurationRequest_STAGED,
		"try": machine.ApplyConfigurationRequest_TRY,
	}[f.mode]
	if f.mode == "interactive" {
		return nil, errors.New("the mode interactive is not there: write a file with gen config and apply it")
	}
	if !ok {
		return nil, fmt.Errorf("unknown mode %q: it is auto, no-reboot, reboot, staged or try", f.mode)
	}
	req := &machine.ApplyConfigurationRequest{Data: data, Mode: mode, DryRun: f.dryRun}
	if mode == machine.ApplyConfigurationRequest_TRY {
		req.TryModeTimeout = durationpb.New(f.timeout)
	}

	return req, nil
}

func (a *app) applyConfigCommand() *cobra.Command {
	var (
		f       applyFlags
		file    string
		patches []string
	)
	cmd := &cobra.Command{
		Use:     "apply-config",
		Aliases: []string{"apply"},
		Short:   "Give nodes a machine configuration",
		Args:    cobra.NoArgs,
		Example: `  dactylctl -n 10.5.0.2 apply-config --insecure -f controlplane.yaml
  dactylctl -n 10.5.0.2 apply-config -f controlplane.yaml --dry-run
  dactylctl -n 10.5.0.2 apply-config -f controlplane.yaml -p @patch.yaml -m try --timeout 2m`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return errors.New("which configuration? Name a file with -f")
			}
			data, err := a.readInput(file)
			if err != nil {
				return err
			}
			if data, err = patched(data, patches); err != nil {
				return err
			}
			req, err := f.request(data)
			if err != nil {
				return err
			}

			return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
				return everyNode(ctx, c, func(ctx context.Context, node string) error { return a.apply(ctx, c, node, req) })
			})
		},
	}
	f.add(a, cmd)
	a.insecureFlags(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "the machine configuration (-: standard input)")
	cmd.Flags().StringArrayVarP(&patches, "config-patch", "p", nil, "change the configuration first: a patch, or @FILE (may be given many times)")

	return cmd
}

// readInput reads a file, or the standard input for "-".
func (a *app) readInput(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(a.in)
	}

	return os.ReadFile(path)
}

// patched changes a configuration by patches as flags name them: text or @file.
func patched(data []byte, flags []string) ([]byte, error) {
	texts := make([]string, len(flags))
	for i, flag := range flags {
		texts[i] = flag
		if path, ok := strings.CutPrefix(flag, "@"); ok {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("patch %d: %w", i+1, err)
			}
			texts[i] = string(text)
		}
	}
	patches, err := patch.LoadAll(texts)
	if err != nil {
		return nil, err
	}

	return patch.Apply(data, patches...)
}

// apply sends a configuration to one node and prints what came of it.
func (a *app) apply(ctx context.Context, c *client.Client, node string, req *machine.ApplyConfigurationRequest) error {
	answer, err := c.Machine.ApplyConfiguration(ctx, req)
	if err != nil {
		return err
	}

	return client.Each(c, answer.GetMessages(), func(_ string, m *machine.ApplyConfiguration) error {
		for _, w := range m.GetWarnings() {
			fmt.Fprintf(a.err, "warning: %s: %s\n", node, w)
		}
		if details := strings.TrimRight(m.GetModeDetails(), "\n"); details != "" {
			if len(c.Targets()) > 1 || strings.Contains(details, "\n") {
				fmt.Fprintf(a.out, "%s:\n%s\n", node, details)
			} else {
				fmt.Fprintf(a.out, "%s: %s\n", node, details)
			}
		}

		return nil
	})
}
