package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/proto/config"
)

func (a *app) machineConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "machineconfig", Aliases: []string{"mc"}, Short: "Make and change machine configuration files",
		Example: "  dactylctl machineconfig patch worker.yaml -p @patch.yaml -o worker-1.yaml",
	}
	gen := a.genConfigCommand()
	gen.Use, gen.Short = "gen <cluster name> <cluster endpoint>", "Make the configurations of a new cluster (the same as gen config)"
	cmd.AddCommand(a.machineConfigPatchCommand(), gen)

	return cmd
}

func (a *app) machineConfigPatchCommand() *cobra.Command {
	var (
		output  string
		patches []string
	)
	cmd := &cobra.Command{
		Use:     "patch <machineconfig-file>",
		Short:   "Change a machine configuration file by patches",
		Args:    cobra.ExactArgs(1),
		Example: `  dactylctl machineconfig patch worker.yaml -p @patch.yaml -p '[{"op": "remove", "path": "/machine/install"}]'`,
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := a.readInput(args[0])
			if err != nil {
				return err
			}
			if data, err = patched(data, patches); err != nil {
				return err
			}
			if output == "" || output == "-" {
				_, err = a.out.Write(data)

				return err
			}

			return os.WriteFile(output, data, 0o600)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write (default is the standard output)")
	cmd.Flags().StringArrayVarP(&patches, "patch", "p", nil, "a patch, or @FILE (may be given many times)")

	return cmd
}

func (a *app) validateCommand() *cobra.Command {
	var (
		file, mode string
		strict     bool
	)
	cmd := &cobra.Command{
		Use:     "validate",
		Short:   "Check a machine configuration file",
		Args:    cobra.NoArgs,
		Example: "  dactylctl validate -c controlplane.yaml -m metal --strict",
		RunE: func(*cobra.Command, []string) error {
			if file == "" || mode == "" {
				return errors.New("name the file with -c and where it is for with -m (metal, cloud or container)")
			}
			m, err := config.ParseMode(mode)
			if err != nil {
				return err
			}
			data, err := a.readInput(file)
			if err != nil {
				return err
			}
			parsed, err := config.Parse(data)
			if err != nil {
				return oneByOne(file, err)
			}
			loaded, err := parsed.Load()
			if err != nil {
				return oneByOne(file, err)
			}
			findings, err := loaded.Validate(m, config.New)
			for _, w := range findings.Warnings {
				fmt.Fprintln(a.err, "warning:", w)
			}
			for _, n := range append(findings.Notes, config.Idle(config.Tree{}, parsed, m)...) {
				fmt.Fprintln(a.err, "note:", n)
			}
			if err != nil {
				return oneByOne(file, err)
			}
			if warnings := findings.Warnings; strict && len(warnings) > 0 {
				return fmt.Errorf("%s: %d warnings, and --strict takes them for errors", file, len(warnings))
			}
			fmt.Fprintf(a.out, "%s is valid for %s mode\n", file, strings.ToLower(mode))

			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the machine configuration (-: standard input)")
	cmd.Flags().StringVarP(&mode, "mode", "m", "", "where the machine runs: metal, cloud or container")
	cmd.Flags().BoolVar(&strict, "strict", false, "take warnings for errors, not notes")

	return cmd
}

// oneByOne prints each of collected errors on a line of its own.
func oneByOne(file string, err error) error {
	var many *multierror.Error
	if !errors.As(err, &many) {
		return fmt.Errorf("%s: %w", file, err)
	}
	out := make([]error, len(many.Errors))
	for i, e := range many.Errors {
		out[i] = fmt.Errorf("%s: %w", file, e)
	}

	return errors.Join(out...)
}
