package patch_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// maker makes random configurations that load. Few words are used, so that keys meet.
type maker struct{ *rand.Rand }

func (m maker) pick(words ...string) string { return words[m.IntN(len(words))] }

func scalar(text string) *yaml.Node {
	node := &yaml.Node{}
	if err := yaml.Unmarshal([]byte(text), node); err != nil {
		panic(fmt.Sprint(text, err))
	}

	return node.Content[0]
}

// config makes a document of the sections that patches are about.
func (m maker) config() string {
	out, err := tree.Encode([]*yaml.Node{m.node(reflect.TypeFor[config.V1Alpha1](), "", 0)})
	if err != nil {
		panic(err)
	}

	return string(out)
}

func (m maker) node(t reflect.Type, tag reflect.StructTag, depth int) *yaml.Node {
	t = tree.Indirect(t)

	if depth > 0 && m.IntN(30) == 0 {
		return scalar(m.pick("null", "~"))
	}

	switch {
	case isScalar(t):
		return scalar(m.word(t, tag))
	case t.Kind() == reflect.Struct:
		return m.section(t, depth)
	case t.Kind() == reflect.Map:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, key := range []string{"a", "b", "c"}[m.IntN(4):] {
			tree.Set(node, key, m.node(t.Elem(), "", depth+1))
		}

		return node
	case t.Kind() == reflect.Slice:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}

		for range m.IntN(3) {
			if element := m.node(t.Elem(), tag, depth+1); !tree.IsNull(element) {
				node.Content = append(node.Content, element)
			}
		}

		return node
	default:
		return m.free(depth)
	}
}

// section fills a few fields; the upper sections always, as they lead to all others.
func (m maker) section(t reflect.Type, depth int) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	fields := tree.FieldsOf(t)
	count := min(len(fields), 1+m.IntN(3))

	for range count {
		f := fields[m.IntN(len(fields))]
		tree.Set(node, f.Name, m.node(f.Type, f.Tag, depth+1))
	}

	for _, f := range fields {
		upper := depth < 2 && slices.Contains([]string{"machine", "cluster", "network"}, f.Name)
		isKey := slices.Contains([]string{"interface", "vlanId", "name", "interfaces"}, f.Name)

		if (upper || isKey) && m.IntN(3) > 0 && tree.Get(node, f.Name) == nil {
			tree.Set(node, f.Name, m.node(f.Type, f.Tag, depth+1))
		}
	}

	return node
}

func (m maker) free(depth int) *yaml.Node {
	switch {
	case depth > 8 || m.IntN(2) == 0:
		return scalar(m.pick("a", "1", "'1'", "0", "''", "true", "false", "1.5", "null"))
	case m.IntN(2) == 0:
		return m.node(reflect.TypeFor[[]any](), "", depth+1)
	default:
		return m.node(reflect.TypeFor[map[string]any](), "", depth+1)
	}
}

// word is a value in one of its spellings, the empty and zero ones often.
func (m maker) word(t reflect.Type, tag reflect.StructTag) string {
	if enum := tag.Get("enum"); enum != "" {
		return m.pick(append(strings.Split(enum, "|"), "''")...)
	}

	switch t {
	case reflect.TypeFor[config.Duration]():
		return m.pick("0s", "0", "5m", "5m0s", "300s")
	case reflect.TypeFor[config.Base64]():
		return m.pick("''", "YQ==", "Yg==")
	case reflect.TypeFor[config.FileMode]():
		return m.pick("0", "0o0", "0o644", "0644", "420")
	case reflect.TypeFor[config.ByteSize]():
		return m.pick("0", "1GiB", "1073741824")
	}

	switch {
	case t.Kind() == reflect.String:
		return m.pick("''", `""`, "a", "'a'", "b", "1", "'1'", "4294967296")
	case t.Kind() == reflect.Bool:
		return m.pick("true", "false", "yes", "off")
	default:
		return m.pick("0", "0x0", "5", "'5'", "0x5", "7")
	}
}

// render is a text that is equal for what a typed reader takes for equal: lists and maps without elements are as good as none.
func render(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return ""
		}

		return "&" + render(v.Elem())
	case reflect.Struct:
		var out strings.Builder

		for i := range v.NumField() {
			if text := render(v.Field(i)); text != "" {
				out.WriteString(v.Type().Field(i).Name + ":" + text + " ")
			}
		}

		return "{" + out.String() + "}"
	case reflect.Map:
		var parts []string
		for _, key := range v.MapKeys() {
			parts = append(parts, key.String()+":"+render(v.MapIndex(key)))
		}

		slices.Sort(parts)

		return strings.Join(parts, " ")
	case reflect.Slice:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, render(v.Index(i)))
		}

		return strings.Join(parts, ",")
	default:
		if v.IsZero() {
			return ""
		}

		return fmt.Sprintf("%s %v", v.Kind(), v)
	}
}
