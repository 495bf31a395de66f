package tree

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Field is one YAML field of a struct type.
type Field struct {
	Name  string
	Type  reflect.Type
	Tag   reflect.StructTag
	Index []int
}

// fieldsOf remembers the fields of struct types: reflection is half of the work of reading a configuration otherwise.
var fieldsOf sync.Map

// FieldsOf lists a struct's YAML fields, inlined ones among them; to be read only.
func FieldsOf(t reflect.Type) []Field {
	if known, ok := fieldsOf.Load(t); ok {
		return known.([]Field) //nolint:forcetypeassert // nothing else is put in
	}

	fields := reflectFields(t)
	fieldsOf.Store(t, fields)

	return fields
}

func reflectFields(t reflect.Type) []Field {
	var fields []Field

	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")

		switch {
		case options == "inline":
			for _, inner := range FieldsOf(f.Type) {
				inner.Index = append([]int{i}, inner.Index...) // a copy of the remembered one
				fields = append(fields, inner)
			}
		case name != "":
			fields = append(fields, Field{Name: name, Type: f.Type, Tag: f.Tag, Index: []int{i}})
		}
	}

	return fields
}

// Child returns the type and tags below a type for a key ("" for a list's elements); nil where the schema ends.
func Child(t reflect.Type, key string) (reflect.Type, reflect.StructTag) {
	if t = Indirect(t); t == nil {
		return nil, ""
	}

	switch t.Kind() {
	case reflect.Struct:
		for _, f := range FieldsOf(t) {
			if f.Name == key {
				return f.Type, f.Tag
			}
		}
	case reflect.Map, reflect.Slice:
		return t.Elem(), ""
	}

	return nil, ""
}

// Indirect removes a pointer.
func Indirect(t reflect.Type) reflect.Type {
	if t != nil && t.Kind() == reflect.Pointer {
		return t.Elem()
	}

	return t
}

func names(fields []Field) []string {
	var all []string

	for _, f := range fields {
		if f.Tag.Get("deprecated") == "" {
			all = append(all, f.Name)
		}
	}

	return all
}

// Suggest names the nearest known word, or all of them where they are few.
func Suggest(word string, known []string) string {
	if near := didYouMean(word, known); near != "" {
		return near
	}

	if len(known) == 0 || len(known) > 12 {
		return ""
	}

	sorted := slices.Sorted(slices.Values(known))

	return "known here: " + strings.Join(sorted, ", ")
}

func didYouMean(word string, known []string) string {
	best, distance := "", 1+len(word)/3

	for _, candidate := range known {
		if d := editDistance(strings.ToLower(word), strings.ToLower(candidate)); d < distance || d == distance && best == "" {
			best, distance = candidate, d
		}
	}

	if best == "" {
		return ""
	}

	return "did you mean " + strconv.Quote(best) + "?"
}

// editDistance is Levenshtein's, over bytes.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}

	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}

	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1

		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}

			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}

	return row[len(b)]
}
