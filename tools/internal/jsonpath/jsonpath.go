// Package jsonpath evaluates the Kubernetes flavour of JSON path on decoded
// YAML: text outside braces stands for itself, {.a.b}, {.list[*].x}, {.list[0]},
// {.list[1:3]}, {..name}, {.a['b.c']}, {@}, {.list[?(@.type=="Ready")].status}.
package jsonpath

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Path is a parsed template.
type Path struct {
	parts []part
}

// part is literal text or, when steps is not nil, an expression.
type part struct {
	text  string
	steps []step
}

// step maps every value found so far to the values below it.
type step func(value any) []any

// Parse reads a template; one without braces is taken as one expression.
func Parse(template string) (*Path, error) {
	if !strings.Contains(template, "{") {
		template = "{" + template + "}"
	}
	p := &Path{}
	for rest := template; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		if text != "" {
			p.parts = append(p.parts, part{text: unescape(text)})
		}
		if !found {
			break
		}
		end := closing(after)
		if end < 0 {
			return nil, fmt.Errorf("JSON path %q: a brace is not closed", template)
		}
		next, err := parseExpression(after[:end])
		if err != nil {
			return nil, fmt.Errorf("JSON path %q: %w", template, err)
		}
		p.parts = append(p.parts, next)
		rest = after[end+1:]
	}

	return p, nil
}

// Find gives the values of the template's expressions.
func (p *Path) Find(root any) []any {
	var out []any
	for _, part := range p.parts {
		if part.steps != nil {
			out = append(out, evaluate(part.steps, root)...)
		}
	}

	return out
}

// Write writes the template filled in; several values of one expression are
// separated by spaces, maps and lists are JSON.
func (p *Path) Write(w io.Writer, root any) error {
	for _, part := range p.parts {
		text := part.text
		if part.steps != nil {
			text = Join(evaluate(part.steps, root))
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}

	return nil
}

// Join prints values as a table cell or a template shows them.
func Join(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = Text(v)
	}

	return strings.Join(words, " ")
}

// Text prints one value.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case map[string]any, []any:
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}

		return string(data)
	default:
		return fmt.Sprint(v)
	}
}

func evaluate(steps []step, root any) []any {
	values := []any{root}
	for _, s := range steps {
		var next []any
		for _, v := range values {
			next = append(next, s(v)...)
		}
		values = next
	}

	return values
}

// closing finds the brace that ends an expression, passing over quoted text.
func closing(s string) int {
	var quote byte
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '}':
			return i
		}
	}

	return -1
}

func unescape(s string) string {
	return strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(s)
}
