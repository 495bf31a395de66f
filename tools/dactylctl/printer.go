package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/cosi-project/runtime/pkg/resource"
	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/tools/internal/jsonpath"
	"github.com/dactyl-os/dactyl/tools/internal/screen"
)

// printer writes resources in one of get's formats.
type printer struct {
	out     io.Writer
	table   *table
	columns []*jsonpath.Path
	path    *jsonpath.Path
	format  string
	watch   bool
	display string
	printed int
}

func newPrinter(out io.Writer, format string, d definition, watch bool) (*printer, error) {
	p := &printer{out: out, format: format, watch: watch, display: d.DisplayType}
	if path, ok := strings.CutPrefix(format, "jsonpath="); ok {
		var err error
		p.format = "jsonpath"
		p.path, err = jsonpath.Parse(path)

		return p, err
	}
	switch format {
	case "yaml", "json":
	case "table":
		return p, p.startTable(d)
	default:
		return nil, fmt.Errorf("unknown output %q: it is table, yaml, json or jsonpath=PATH", format)
	}

	return p, nil
}

func (p *printer) startTable(d definition) error {
	header := []string{"NODE"}
	if p.watch {
		header = append(header, "*")
	}
	header = append(header, "NAMESPACE", "TYPE", "ID", "VERSION")
	for _, c := range d.PrintColumns {
		path, err := jsonpath.Parse(c.JSONPath)
		if err != nil {
			return fmt.Errorf("column %s of %s: %w", c.Name, d.Type, err)
		}
		p.columns = append(p.columns, path)
		header = append(header, strings.ToUpper(c.Name))
	}
	p.table = newTable(p.out, header...)

	return nil
}

func (p *printer) flush() error {
	if p.table != nil {
		return p.table.flush()
	}

	return nil
}

// print writes one resource; mark is the sign of a change in a watch.
func (p *printer) print(node, mark string, r resource.Resource) error {
	p.printed++
	r = wholeConfig(r)
	switch p.format {
	case "table":
		return p.printRow(node, mark, r)
	case "yaml":
		return p.printYAML(node, mark, r)
	}
	whole, err := decoded(r)
	if err != nil {
		return err
	}
	whole["node"] = node
	if mark = strings.TrimSpace(mark); mark != "" {
		whole["event"] = eventName(mark)
	}
	if p.format == "jsonpath" {
		var text strings.Builder
		if err := p.path.Write(&text, whole); err != nil {
			return err
		}
		_, err := fmt.Fprintln(p.out, strings.TrimSuffix(text.String(), "\n"))

		return err
	}
	enc := json.NewEncoder(p.out)
	enc.SetIndent("", "    ")

	return enc.Encode(whole)
}

func eventName(mark string) string {
	return map[string]string{"+": "created", "-": "destroyed"}[mark]
}

func (p *printer) printRow(node, mark string, r resource.Resource) error {
	spec, err := decodedSpec(r)
	if err != nil {
		return err
	}
	md := r.Metadata()
	cells := []any{node}
	if p.watch {
		cells = append(cells, mark)
	}
	cells = append(cells, md.Namespace(), p.display, md.ID(), md.Version())
	for _, c := range p.columns {
		cells = append(cells, oneLine(jsonpath.Join(c.Find(spec))))
	}
	p.table.row(cells...)

	return nil
}

func oneLine(s string) string {
	return screen.Escape(strings.NewReplacer("\n", " ", "\t", " ").Replace(s))
}

func (p *printer) printYAML(node, mark string, r resource.Resource) error {
	out, err := resource.MarshalYAML(r)
	if err != nil {
		return err
	}
	if p.printed > 1 {
		fmt.Fprintln(p.out, "---")
	}
	fmt.Fprintf(p.out, "node: %s\n", node)
	if mark = strings.TrimSpace(mark); mark != "" {
		fmt.Fprintf(p.out, "event: %s\n", eventName(mark))
	}
	enc := yaml.NewEncoder(p.out)
	enc.SetIndent(4)
	if err := enc.Encode(out); err != nil {
		return err
	}

	return enc.Close()
}

// decodedSpec gives the spec as maps, lists and scalars.
func decodedSpec(r resource.Resource) (any, error) {
	text, err := yaml.Marshal(r.Spec())
	if err != nil {
		return nil, fmt.Errorf("spec of %s: %w", r.Metadata(), err)
	}
	var spec any
	if err := yaml.Unmarshal(text, &spec); err != nil {
		return nil, fmt.Errorf("spec of %s: %w", r.Metadata(), err)
	}

	return spec, nil
}

// decoded gives metadata and spec in the same way.
func decoded(r resource.Resource) (map[string]any, error) {
	out, err := resource.MarshalYAML(r)
	if err != nil {
		return nil, err
	}
	text, err := yaml.Marshal(out)
	if err != nil {
		return nil, err
	}
	whole := map[string]any{}
	if err := yaml.Unmarshal(text, &whole); err != nil {
		return nil, err
	}
	// The library writes names without quotes, so 0x0a would come back as 10.
	if metadata, ok := whole["metadata"].(map[string]any); ok {
		metadata["id"] = r.Metadata().ID()
	}

	return whole, nil
}

// text is a resource whose spec is shown as text.
type text struct {
	resource.Resource

	spec string
}

func (t text) Spec() any {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.LiteralStyle, Value: t.spec}
}

// wholeConfig makes text of a machine configuration of several documents: as a value it would be cut to the first.
func wholeConfig(r resource.Resource) resource.Resource {
	if r.Metadata().Type() != machineConfigType {
		return r
	}
	data, err := configText(r)
	if err != nil {
		return r
	}
	if docs, err := config.Parse(data); err != nil || len(docs.Documents()) < 2 {
		return r
	}

	return text{r, string(data)}
}
