package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/storage"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// diskInfo is a disk as yaml and json show it.
type diskInfo struct {
	Node       string `json:"node" yaml:"node"`
	Device     string `json:"device" yaml:"device"`
	Model      string `json:"model,omitempty" yaml:"model,omitempty"`
	Serial     string `json:"serial,omitempty" yaml:"serial,omitempty"`
	Type       string `json:"type" yaml:"type"`
	UUID       string `json:"uuid,omitempty" yaml:"uuid,omitempty"`
	WWID       string `json:"wwid,omitempty" yaml:"wwid,omitempty"`
	Modalias   string `json:"modalias,omitempty" yaml:"modalias,omitempty"`
	Name       string `json:"name,omitempty" yaml:"name,omitempty"`
	Size       uint64 `json:"size" yaml:"size"`
	BusPath    string `json:"busPath,omitempty" yaml:"busPath,omitempty"`
	Subsystem  string `json:"subsystem,omitempty" yaml:"subsystem,omitempty"`
	ReadOnly   bool   `json:"readOnly" yaml:"readOnly"`
	SystemDisk bool   `json:"systemDisk" yaml:"systemDisk"`
}

func (a *app) disksCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "disks", Short: "List the disks of nodes", Args: cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2,10.5.0.3 disks\n  dactylctl -n 10.5.0.5 disks --insecure -o yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			write, known := map[string]func(io.Writer, []diskInfo) error{"table": diskTable, "yaml": diskYAML, "json": diskJSON}[output]
			if !known {
				return fmt.Errorf("unknown output %q: it is table, yaml or json", output)
			}

			return a.ask(cmd, func(ctx context.Context, c *client.Client) error {
				messages, err := listDisks(ctx, c)
				if err != nil {
					return err
				}
				var disks []diskInfo
				err = client.Each(c, messages, func(node string, m *storage.Disks) error {
					for _, d := range m.GetDisks() {
						disks = append(disks, newDiskInfo(node, d))
					}

					return nil
				})
				if e := write(a.out, disks); e != nil {
					return e
				}

				return err
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "how to print: table, yaml or json")
	a.complete(cmd, "output", func(string) []string { return []string{"table", "yaml", "json"} })
	a.insecureFlags(cmd)

	return cmd
}

func listDisks(ctx context.Context, c *client.Client) ([]*storage.Disks, error) {
	answer, err := storage.NewStorageServiceClient(c.Conn()).Disks(ctx, &emptypb.Empty{})

	return answer.GetMessages(), err
}

// newDiskInfo cuts the blanks that firmware pads names with.
func newDiskInfo(node string, d *storage.Disk) diskInfo {
	return diskInfo{
		Node: node, Device: d.GetDeviceName(), Model: strings.TrimSpace(d.GetModel()), Serial: strings.TrimSpace(d.GetSerial()), Type: d.GetType().String(),
		UUID: d.GetUuid(), WWID: d.GetWwid(), Modalias: d.GetModalias(), Name: d.GetName(), Size: d.GetSize(),
		BusPath: d.GetBusPath(), Subsystem: d.GetSubsystem(), ReadOnly: d.GetReadonly(), SystemDisk: d.GetSystemDisk(),
	}
}

func diskTable(w io.Writer, disks []diskInfo) error {
	t := newTable(w, "NODE", "DEV", "MODEL", "SERIAL", "TYPE", "UUID", "WWID", "MODALIAS", "NAME", "SIZE", "BUS_PATH", "SUBSYSTEM", "READ_ONLY", "SYSTEM_DISK")
	for _, d := range disks {
		t.row(d.Node, d.Device, orDash(d.Model), orDash(d.Serial), d.Type, orDash(d.UUID), orDash(d.WWID), orDash(d.Modalias), orDash(d.Name),
			humanBytes(d.Size), orDash(d.BusPath), orDash(d.Subsystem), star(d.ReadOnly), star(d.SystemDisk))
	}

	return t.flush()
}

func diskYAML(w io.Writer, disks []diskInfo) error {
	data, err := yaml.Marshal(disks)
	if err != nil {
		return err
	}
	_, err = w.Write(data)

	return err
}

func diskJSON(w io.Writer, disks []diskInfo) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "    ")

	return enc.Encode(disks)
}

// orDash keeps an empty cell visible.
func orDash(s string) string {
	if s == "" {
		return "-"
	}

	return s
}

func star(yes bool) string {
	if yes {
		return "*"
	}

	return ""
}

func oneOf(values []string) string {
	last := len(values) - 1

	return strings.Join(values[:last], ", ") + " or " + values[last]
}
