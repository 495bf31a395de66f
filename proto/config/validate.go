package config

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// Mode is where the machine runs; it decides what a configuration must hold.
type Mode string

// The modes of validation.
const (
	Metal     Mode = "metal"
	Container Mode = "container"
	Cloud     Mode = "cloud"
)

// ParseMode reads a mode's name.
func ParseMode(text string) (Mode, error) {
	switch mode := Mode(text); mode {
	case Metal, Container, Cloud:
		return mode, nil
	default:
		return "", fmt.Errorf("unknown mode %q: it is metal, container or cloud", text)
	}
}

// Origin is where a configuration comes from, which decides how strictly it is judged.
type Origin int

const (
	// New is given now, by somebody who hears what is wrong with it.
	New Origin = iota
	// Stored is on the machine already, perhaps from a system that took it: nobody is there to mend it, and a machine that
	// does most of what it says is better than one that does not start.
	Stored
)

// Findings are what a configuration was taken with.
type Findings struct {
	// Warnings are those of the v1.8 contract, errors for who asks to be strict.
	Warnings []string
	// Notes are this system's own, never an error.
	Notes []string
}

// All gives warnings and notes.
func (f Findings) All() []string { return slices.Concat(f.Warnings, f.Notes) }

// Validate judges the values of a loaded configuration. The error is a multierror of [Problem], all that were found. What makes
// a new configuration invalid is a note on a stored one, except for what no machine starts without.
func (c *Config) Validate(mode Mode, origin Origin) (Findings, error) {
	v := &validator{config: c, mode: mode, origin: origin, findings: Findings{Notes: slices.Clone(c.notes)}}

	if c.V1Alpha1 != nil {
		v.enter(c.mainNumber, "v1alpha1")
		v.main(c.V1Alpha1)
	} else {
		v.findings.Notes = append(v.findings.Notes, "no v1alpha1 document: the machine stays in maintenance until it gets one")
	}

	for i, document := range c.Documents {
		v.enter(c.numbers[i], title(document.Kind(), document.DocumentName()))
		v.document(document)
	}

	v.redacted()

	return v.findings, v.problems.err()
}

// redacted refuses masks: a configuration read by someone who may not see secrets must not be applied.
func (v *validator) redacted() {
	masked := base64.StdEncoding.EncodeToString([]byte(Mask))
	if !bytes.Contains(v.config.raw, []byte(Mask)) && !bytes.Contains(v.config.raw, []byte(masked)) {
		return
	}

	docs, _ := tree.Parse(v.config.raw) // it parsed at load

	for i, doc := range docs {
		schema, _ := SchemaOf(KindOf(doc))

		v.enter(i+1, title(KindOf(doc), tree.Text(doc, "name")))
		tree.Walk(doc, schema, "", nil, func(path *tree.Path, node *yaml.Node, _ reflect.Type, tag reflect.StructTag) {
			if tag.Get("secret") != "" && (strings.Contains(node.Value, Mask) || node.Value == masked) {
				v.essential(path, "redacted", "this configuration was read without the right to see secrets; patch the machine instead")
			}
		})
	}
}

// validator collects problems; its methods get the path of what they look at.
type validator struct {
	config   *Config
	mode     Mode
	origin   Origin
	problems problems
	findings Findings

	docs   []*yaml.Node // parsed again for lines once something is wrong
	number int
	kind   string
}

func (v *validator) enter(number int, kind string) { v.number, v.kind = number, kind }

func (v *validator) problem(path *tree.Path, message, hint string) *Problem {
	if v.docs == nil {
		v.docs, _ = tree.Parse(v.config.raw) // it parsed at load
	}

	line := 0
	if v.number-1 < len(v.docs) {
		line = path.Line(v.docs[v.number-1])
	}

	return &Problem{Document: v.number, Kind: v.kind, Path: path.String(), Line: line, Message: message, Hint: hint}
}

// The severities: essential is what no machine starts without, fail what the contract refuses too or cannot work, warn what the
// contract warns of, note what only this system finds.

func (v *validator) essential(path *tree.Path, message, hint string) {
	v.problems.add(func() *Problem { return v.problem(path, message, hint) })
}

func (v *validator) fail(path *tree.Path, message, hint string) {
	if v.origin == Stored {
		v.note(path, message, hint)
	} else {
		v.essential(path, message, hint)
	}
}

func (v *validator) warn(path *tree.Path, message, hint string) {
	v.findings.Warnings = append(v.findings.Warnings, v.problem(path, message, hint).Error())
}

func (v *validator) note(path *tree.Path, message, hint string) {
	if len(v.findings.Notes) < maxProblems {
		v.findings.Notes = append(v.findings.Notes, v.problem(path, message, hint).Error())
	}
}

// needs is [require] for what no machine starts without.
func (v *validator) needs(path *tree.Path, value, hint string) bool {
	if value == "" {
		v.essential(path, "missing", hint)
	}

	return value != ""
}

// require fails if a value is missing.
func require[T comparable](v *validator, path *tree.Path, value T, hint string) bool {
	var zero T
	if value != zero {
		return true
	}

	v.fail(path, "missing", hint)

	return false
}

// within fails if a number is outside its bounds; 0 means unset and is let through.
func within[T cmp.Ordered](v *validator, path *tree.Path, value, low, high T) {
	var zero T
	if value != zero && (value < low || value > high) {
		v.fail(path, fmt.Sprintf("%v is not between %v and %v", value, low, high), "")
	}
}

// unique fails at elements whose key was there before; empty keys are left to other rules.
func unique[T any](v *validator, path *tree.Path, list []T, field, what string, key func(T) string) {
	first := map[string]int{}

	for i, element := range list {
		k := key(element)
		if k == "" {
			continue
		}

		if before, twice := first[k]; twice {
			where := path.Index(i)
			if field != "" {
				where = where.Key(field)
			}

			v.fail(where, fmt.Sprintf("%s %q occurs twice, first at %s", what, k, path.Index(before)), "merge the two or remove one")

			continue
		}

		first[k] = i
	}
}

// each checks every text of a list.
func each(v *validator, path *tree.Path, list []string, check func(*validator, *tree.Path, string)) {
	for i, text := range list {
		check(v, path.Index(i), text)
	}
}

// optional checks a text if it is there.
func optional(v *validator, path *tree.Path, text string, check func(*validator, *tree.Path, string)) {
	if text != "" {
		check(v, path, text)
	}
}

// at is the path of a top-level field.
func at(key string) *tree.Path { return (*tree.Path)(nil).Key(key) }
