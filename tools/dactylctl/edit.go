package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/tools/internal/screen"
)

func (a *app) editCommand() *cobra.Command {
	var (
		f         applyFlags
		namespace string
	)
	cmd := &cobra.Command{
		Use:               "edit <type> [<id>]",
		Short:             "Change the machine configuration of nodes in an editor",
		Long:              "Change the machine configuration of nodes in the editor that $TALOS_EDITOR or $EDITOR names. Saving it unchanged cancels.",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeMachineConfig,
		Example:           "  dactylctl -n 10.5.0.2 edit mc --mode=staged",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeConfig(cmd, args, namespace, f, a.edited)
		},
	}
	f.add(a, cmd)
	cmd.Flags().StringVar(&namespace, "namespace", "", "namespace of the resource (default is the one of the type)")

	return cmd
}

// edited opens the editor until the text loads or is left as it was.
func (a *app) edited(node string, data []byte) ([]byte, error) {
	original, note := data, "# The machine configuration of "+node+". Saving it unchanged cancels.\n"
	for {
		shown := append([]byte(note), data...)
		text, err := a.runEditor(shown)
		if err != nil {
			return nil, err
		}
		text = withoutNote(text, note)
		if bytes.Equal(bytes.TrimSpace(text), bytes.TrimSpace(original)) {
			fmt.Fprintln(a.err, "cancelled: nothing was changed")

			return nil, nil
		}
		if bytes.Equal(text, data) && strings.HasPrefix(note, "#!") {
			return nil, errors.New("the text still does not load: nothing was applied")
		}
		_, err = config.Load(text)
		if err == nil {
			return text, nil
		}
		data, note = text, "#! This does not load:\n"
		for line := range strings.Lines(err.Error()) {
			note += "#! " + strings.TrimRight(line, "\n") + "\n"
		}
	}
}

// withoutNote takes off the comment that was put in front.
func withoutNote(text []byte, note string) []byte {
	for line := range strings.Lines(note) {
		rest, found := bytes.CutPrefix(text, []byte(line))
		if !found {
			break
		}
		text = rest
	}

	return text
}

func (a *app) runEditor(data []byte) ([]byte, error) {
	f, err := os.CreateTemp("", "machineconfig-*.yaml")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	editor := "vi"
	for _, name := range []string{"EDITOR", "TALOS_EDITOR"} {
		if e := os.Getenv(name); e != "" {
			editor = e
		}
	}
	// As git does: the variable may carry arguments.
	cmd := exec.Command("sh", "-c", editor+` "$@"`, editor, f.Name())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, screen.Raw(a.out), screen.Raw(a.err)
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run the editor %q: %w", editor, err)
	}

	return os.ReadFile(f.Name())
}
