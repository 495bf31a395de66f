package tree

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// Path is the way from a document to a value; nil is the document itself.
type Path struct {
	parent *Path
	key    string
	index  int // -1 for a key
}

// Key goes to a field or a map's key.
func (p *Path) Key(name string) *Path { return &Path{parent: p, key: name, index: -1} }

// Index goes to an element of a list.
func (p *Path) Index(i int) *Path { return &Path{parent: p, index: i} }

// String prints the path as machine.network.interfaces[0].mtu.
func (p *Path) String() string {
	switch {
	case p == nil:
		return ""
	case p.index >= 0:
		return p.parent.String() + "[" + strconv.Itoa(p.index) + "]"
	case !plainKey(p.key):
		return p.parent.String() + fmt.Sprintf("[%q]", p.key)
	case p.parent == nil:
		return p.key
	default:
		return p.parent.String() + "." + p.key
	}
}

func plainKey(key string) bool {
	for i, c := range key {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}

	return key != ""
}

// Line finds the line of the path in a document, or of the nearest parent that is written there.
func (p *Path) Line(root *yaml.Node) int {
	node, line := p.find(root)
	if node != nil {
		return line
	}

	return p.parent.Line(root)
}

// find returns the value and the line where it begins: a key's line for fields, the element's for lists.
func (p *Path) find(root *yaml.Node) (*yaml.Node, int) {
	if p == nil {
		return Resolve(root), root.Line
	}

	parent, _ := p.parent.find(root)
	if parent == nil {
		return nil, 0
	}

	if p.index >= 0 {
		if parent.Kind != yaml.SequenceNode || p.index >= len(parent.Content) {
			return nil, 0
		}

		element := parent.Content[p.index]

		return Resolve(element), element.Line
	}

	if parent.Kind != yaml.MappingNode {
		return nil, 0
	}

	for _, pair := range Pairs(parent) {
		if pair.Key.Value == p.key {
			return Resolve(pair.Value), pair.Key.Line
		}
	}

	return nil, 0
}
