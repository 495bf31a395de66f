package redact

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// edits collects replacements of scalars in the text that they were read from.
type edits struct {
	data  []byte
	lines []int // where each line begins
	all   []edit
	lost  bool // one could not be found again
}

type edit struct {
	from, to int
	text     string
}

func newEdits(data []byte) *edits {
	e := &edits{data: data, lines: []int{0}}

	for at, c := range data {
		if c == '\n' {
			e.lines = append(e.lines, at+1)
		}
	}

	return e
}

// put replaces a scalar by a quoted one. Only what stands on one line just as its value is found again.
func (e *edits) put(node *yaml.Node, value string) {
	from, ok := e.offset(node.Line, node.Column)
	written := quoted(node)

	if !ok || written == "" || strings.ContainsAny(value, "'\n") || !bytes.HasPrefix(e.data[from:], []byte(written)) {
		e.lost = true

		return
	}

	e.all = append(e.all, edit{from, from + len(written), "'" + value + "'"})
}

// offset finds a place by its line and its character in it, both from 1.
func (e *edits) offset(line, column int) (int, bool) {
	if line < 1 || line > len(e.lines) {
		return 0, false
	}

	at := e.lines[line-1]

	for range column - 1 {
		_, size := utf8.DecodeRune(e.data[at:])
		at += size
	}

	return at, at < len(e.data)
}

// quoted is a scalar as it may stand in the text; "" when that cannot be told from its value.
func quoted(node *yaml.Node) string {
	if node.Anchor != "" || strings.ContainsAny(node.Value, "\\'\"\n") {
		return ""
	}

	switch node.Style {
	case 0:
		return node.Value
	case yaml.SingleQuotedStyle:
		return "'" + node.Value + "'"
	case yaml.DoubleQuotedStyle:
		return `"` + node.Value + `"`
	default:
		return ""
	}
}

// apply gives the text with all replacements; false when one could not be found.
func (e *edits) apply() ([]byte, bool) {
	if e.lost {
		return nil, false
	}

	slices.SortFunc(e.all, func(a, b edit) int { return a.from - b.from })

	var out bytes.Buffer

	at := 0

	for _, edit := range slices.Compact(e.all) { // an alias comes to the same place twice
		out.Write(e.data[at:edit.from])
		out.WriteString(edit.text)

		at = edit.to
	}

	out.Write(e.data[at:])

	return out.Bytes(), true
}
