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

// maxProblems bounds what one hostile or foreign file can make an error cost.
const maxProblems = 200

// problems collects all that is found and becomes an error.
type problems struct {
	all   *multierror.Error
	count int
}

// add takes a function, as finding the line of a problem that is not shown would be work for nothing.
func (p *problems) add(problem func() *Problem) {
	if p.count++; p.count <= maxProblems {
		p.all = multierror.Append(p.all, problem())
	}
}

func (p *problems) err() error {
	if p.all == nil {
		return nil
	}

	p.all.ErrorFormat = func(all []error) string { return formatProblems(all, p.count-len(all)) }

	return p.all
}

func formatProblems(all []error, more int) string {
	if len(all) == 1 {
		return "machine configuration: " + all[0].Error()
	}

	var b strings.Builder

	fmt.Fprintf(&b, "machine configuration: %d problems", len(all)+more)

	for _, err := range all {
		b.WriteString("\n  " + err.Error())
	}

	if more > 0 {
		fmt.Fprintf(&b, "\n  … and %d more", more)
	}

	return b.String()
}
