package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// Problem is one thing wrong in a configuration. Errors of Load and Validate are multierrors of them.
type Problem struct {
	// Document counts from 1; 0 is the stream as a whole.
	Document int
	// Kind is the document's kind, with its name if it has one; v1alpha1 for the main one.
	Kind string
	// Path is such as machine.network.interfaces[0].addresses[1]; empty for the document itself.
	Path string
	// Line counts from 1 in the whole stream; 0 is unknown.
	Line    int
	Message string
	Hint    string
}

// Error prints the problem on one line.
func (p *Problem) Error() string {
	var b strings.Builder

	if p.Document > 0 {
		fmt.Fprintf(&b, "document %d (%s), ", p.Document, p.Kind)
	}

	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}

	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}

	b.WriteString(p.Message)

	if p.Hint != "" {
		b.WriteString(" (hint: " + p.Hint + ")")
	}

	return b.String()
}

// problems collects without end and becomes an error.
type problems struct{ all *multierror.Error }

func (p *problems) add(problem *Problem) { p.all = multierror.Append(p.all, problem) }

func (p *problems) err() error {
	if p.all == nil {
		return nil
	}

	p.all.ErrorFormat = formatProblems

	return p.all
}

func formatProblems(all []error) string {
	if len(all) == 1 {
		return "machine configuration: " + all[0].Error()
	}

	var b strings.Builder

	fmt.Fprintf(&b, "machine configuration: %d problems", len(all))

	const shown = 100
	for i, err := range all {
		if i == shown {
			fmt.Fprintf(&b, "\n  … and %d more", len(all)-shown)

			break
		}

		b.WriteString("\n  " + err.Error())
	}

	return b.String()
}
