package tree

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Report receives what is wrong: where, what and what to do about it.
type Report func(path *Path, line int, message, hint string)

// Decoder fills Go values from nodes and reports every mismatch.
type Decoder struct {
	Report Report
	// Deprecated, if set, receives what to do instead of a field that still loads.
	Deprecated func(path *Path, line int, message string)
	// Ignore names keys that are passed over in mappings, such as $patch in patches.
	Ignore string
}

// Decode fills v, which must be settable.
func (d *Decoder) Decode(node *yaml.Node, v reflect.Value, path *Path) {
	node = Resolve(node)
	if IsNull(node) {
		return
	}

	if d.Ignore != "" && Get(node, d.Ignore) != nil && len(node.Content) == 2 {
		return // nothing but a directive, which may stand in place of any value
	}

	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}

	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if d.kind(node, yaml.ScalarNode, "one value", path) {
			if err := text.UnmarshalText([]byte(node.Value)); err != nil {
				d.Report(path, node.Line, err.Error(), "")
			}
		}

		return
	}

	switch v.Kind() {
	case reflect.Struct:
		if d.kind(node, yaml.MappingNode, "a mapping", path) {
			d.structure(node, v, path)
		}
	case reflect.Map:
		if d.kind(node, yaml.MappingNode, "a mapping", path) {
			d.mapping(node, v, path)
		}
	case reflect.Slice:
		if d.kind(node, yaml.SequenceNode, "a list", path) {
			d.list(node, v, path)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(d.free(node, path)))
	default:
		if d.kind(node, yaml.ScalarNode, scalarName(v.Kind()), path) {
			d.scalar(node, v, path)
		}
	}
}

func (d *Decoder) kind(node *yaml.Node, want yaml.Kind, name string, path *Path) bool {
	if node.Kind == want {
		return true
	}

	hint := ""
	if want == yaml.SequenceNode {
		hint = `start each element with "- "`
	}

	d.Report(path, node.Line, fmt.Sprintf("expected %s, found %s", name, describe(node)), hint)

	return false
}

func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		text := node.Value
		if len(text) > 40 {
			text = text[:40] + "…"
		}

		return strconv.Quote(text)
	}
}

func (d *Decoder) structure(node *yaml.Node, v reflect.Value, path *Path) {
	fields := FieldsOf(v.Type())
	lines := map[string]int{}

	for _, pair := range Pairs(node) {
		name := pair.Key.Value
		if name == d.Ignore && name != "" {
			continue
		}

		if d.twice(lines, pair.Key, path) {
			continue
		}

		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
		if i < 0 {
			d.Report(path.Key(name), pair.Key.Line, "unknown field", Suggest(name, names(fields)))

			continue
		}

		if text := fields[i].Tag.Get("deprecated"); text != "" && d.Deprecated != nil {
			d.Deprecated(path.Key(name), pair.Key.Line, text)
		}

		d.Decode(pair.Value, v.FieldByIndex(fields[i].Index), path.Key(name))
		d.enum(fields[i], pair.Value, path.Key(name))
	}
}

// twice tells whether a key was met before, and reports it; lines are those of the keys so far.
func (d *Decoder) twice(lines map[string]int, key *yaml.Node, path *Path) bool {
	first, twice := lines[key.Value]
	if twice {
		d.Report(path.Key(key.Value), key.Line, fmt.Sprintf("written twice, first on line %d", first), "keep one of them")
	} else {
		lines[key.Value] = key.Line
	}

	return twice
}

// enum checks a field with named values, alone or in a list.
func (d *Decoder) enum(field Field, node *yaml.Node, path *Path) {
	allowed := field.Tag.Get("enum")
	if allowed == "" {
		return
	}

	switch node = Resolve(node); node.Kind {
	case yaml.SequenceNode:
		for i, element := range node.Content {
			d.enum(field, element, path.Index(i))
		}
	case yaml.ScalarNode:
		values := strings.Split(allowed, "|")
		if node.Value != "" && !IsNull(node) && !slices.Contains(values, node.Value) {
			d.Report(path, node.Line, fmt.Sprintf("%q is not one of %s", node.Value, strings.Join(values, ", ")), didYouMean(node.Value, values))
		}
	}
}

func (d *Decoder) mapping(node *yaml.Node, v reflect.Value, path *Path) {
	result := reflect.MakeMap(v.Type())
	lines := map[string]int{}

	for _, pair := range Pairs(node) {
		name := pair.Key.Value
		if pair.Key.Kind != yaml.ScalarNode {
			d.Report(path, pair.Key.Line, "expected text as a key, found "+describe(pair.Key), "")

			continue
		}

		if name == d.Ignore && name != "" {
			continue
		}

		if d.twice(lines, pair.Key, path) {
			continue
		}

		element := reflect.New(v.Type().Elem()).Elem()
		d.Decode(pair.Value, element, path.Key(name))

		if element.Kind() == reflect.Pointer && element.IsNil() {
			element.Set(reflect.New(element.Type().Elem()))
		}

		result.SetMapIndex(reflect.ValueOf(name), element)
	}

	v.Set(result)
}

func (d *Decoder) list(node *yaml.Node, v reflect.Value, path *Path) {
	result := reflect.MakeSlice(v.Type(), 0, len(node.Content))

	for i, child := range node.Content {
		if IsNull(Resolve(child)) {
			d.Report(path.Index(i), child.Line, "empty element", "give it a value or remove the line")

			continue
		}

		element := reflect.New(v.Type().Elem()).Elem()
		d.Decode(child, element, path.Index(i))
		result = reflect.Append(result, element)
	}

	v.Set(result)
}

// free decodes a value without a schema into map[string]any, []any and scalars.
func (d *Decoder) free(node *yaml.Node, path *Path) any {
	switch node = Resolve(node); node.Kind {
	case yaml.MappingNode:
		v := reflect.ValueOf(&map[string]any{}).Elem()
		d.mapping(node, v, path)

		return v.Interface()
	case yaml.SequenceNode:
		result := make([]any, 0, len(node.Content))
		for i, child := range node.Content {
			result = append(result, d.free(child, path.Index(i)))
		}

		return result
	default:
		var result any
		if err := node.Decode(&result); err != nil {
			d.Report(path, node.Line, strings.TrimPrefix(err.Error(), "yaml: "), "")
		}

		return result
	}
}

func scalarName(kind reflect.Kind) string {
	switch kind {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	default:
		return "a whole number"
	}
}

func (d *Decoder) scalar(node *yaml.Node, v reflect.Value, path *Path) {
	text := strings.ReplaceAll(node.Value, "_", "")

	switch {
	case v.Kind() == reflect.String:
		v.SetString(node.Value)
	case v.Kind() == reflect.Bool:
		value, ok := boolean(node.Value)
		if !ok {
			d.Report(path, node.Line, "expected true or false, found "+describe(node), "")
		}

		v.SetBool(value)
	case v.CanInt():
		n, err := strconv.ParseInt(text, 0, v.Type().Bits())
		d.number(err, node, v, path)
		v.SetInt(n)
	case v.CanUint():
		n, err := strconv.ParseUint(text, 0, v.Type().Bits())
		d.number(err, node, v, path)
		v.SetUint(n)
	}
}

func (d *Decoder) number(err error, node *yaml.Node, v reflect.Value, path *Path) {
	if err == nil {
		return
	}

	message := "expected a whole number, found " + describe(node)

	if signed, signErr := strconv.ParseInt(node.Value, 0, 64); signErr == nil && v.CanUint() && signed < 0 {
		message = fmt.Sprintf("%s is negative", node.Value)
	} else if signErr == nil {
		message = fmt.Sprintf("%s is too large", node.Value)
	}

	d.Report(path, node.Line, message, "")
}

// boolean also takes the words of YAML 1.1, which v1.8 configurations may hold.
func boolean(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "y":
		return true, true
	case "false", "no", "off", "n":
		return false, true
	default:
		return false, false
	}
}
