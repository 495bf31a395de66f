package config

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// Load reads a configuration strictly: unknown fields, wrong types, documents that occur twice and streams that are not
// YAML are errors, all of them reported at once. The values are judged by [Config.Validate].
func Load(data []byte) (*Config, error) { return load(data, "") }

// LoadPatch reads a strategic merge patch by the same schema, passing over the key $patch.
func LoadPatch(data []byte) (*Config, error) { return load(data, "$patch") }

func load(data []byte, ignore string) (*Config, error) {
	parsed, err := Parse(data)
	if err != nil {
		return nil, err
	}

	return parsed.load(ignore)
}

// Tree is a stream of documents that is YAML, whatever it says.
type Tree struct {
	data []byte
	docs []*yaml.Node
}

// Parse is the first half of Load, for those who want more of the documents than a Config.
func Parse(data []byte) (Tree, error) {
	docs, err := tree.Parse(data)
	if err != nil {
		var found problems

		found.add(func() *Problem { return &Problem{Message: err.Error()} })

		return Tree{}, found.err()
	}

	return Tree{bytes.Clone(data), docs}, nil
}

// Documents are the documents' nodes, to be read only.
func (t Tree) Documents() []*yaml.Node { return t.docs }

// Bytes is the text that was parsed, to be read only.
func (t Tree) Bytes() []byte { return t.data }

// Load is the second half of Load.
func (t Tree) Load() (*Config, error) { return t.load("") }

func (t Tree) load(ignore string) (*Config, error) {
	l := loader{config: &Config{raw: t.data}, ignore: ignore, first: map[string]int{}}

	if len(t.docs) == 0 {
		l.problems.add(func() *Problem { return &Problem{Message: "empty", Hint: "a configuration has at least one document"} })
	}

	for i, doc := range t.docs {
		l.document(i+1, doc)
	}

	if err := l.problems.err(); err != nil {
		return nil, err
	}

	return l.config, nil
}

type loader struct {
	config   *Config
	problems problems
	ignore   string
	first    map[string]int // kind and name → line
}

func (l *loader) document(number int, node *yaml.Node) {
	kind := KindOf(node)
	name := title(kind, tree.Text(node, "name"))

	report := func(path *tree.Path, line int, message, hint string) {
		l.problems.add(func() *Problem {
			return &Problem{Document: number, Kind: name, Path: path.String(), Line: line, Message: message, Hint: hint}
		})
	}

	schema, known := SchemaOf(kind)
	if kind == "" && tree.Get(node, "apiVersion") != nil {
		report(nil, node.Line, "apiVersion without kind", "a v1alpha1 document starts with version: v1alpha1, any other has a kind")

		return
	}

	if !known {
		report(nil, node.Line, "unknown kind", tree.Suggest(kind, slices.Sorted(maps.Keys(kinds()))))

		return
	}

	target := reflect.New(schema)
	decoder := tree.Decoder{Report: report, Ignore: l.ignore}
	decoder.Deprecated = func(path *tree.Path, line int, message string) {
		problem := Problem{Document: number, Kind: name, Path: path.String(), Line: line, Message: "deprecated", Hint: message}
		l.config.notes = append(l.config.notes, problem.Error())
	}

	decoder.Decode(node, target.Elem(), nil)

	document := target.Interface().(Document) //nolint:forcetypeassert // every schema type is one

	id := title(kind, document.DocumentName())
	if line, twice := l.first[id]; twice {
		report(nil, node.Line, fmt.Sprintf("a second %s document, the first begins on line %d", id, line), "keep one of them")

		return
	}

	l.first[id] = node.Line

	if main, ok := document.(*V1Alpha1); ok {
		l.config.V1Alpha1, l.config.mainNumber = main, number
	} else {
		l.config.Documents = append(l.config.Documents, document)
		l.config.numbers = append(l.config.numbers, number)
	}
}

// title names a document in messages.
func title(kind, name string) string {
	switch {
	case kind == "":
		return "v1alpha1"
	case name == "":
		return kind
	default:
		return kind + " " + name
	}
}
