package config

import (
	"maps"
	"slices"
)

// IdlePlaces are the places of the table of what has no effect.
func IdlePlaces() []string {
	var all []string
	for _, row := range idles(Container) {
		all = append(all, row.places...)
	}

	return all
}

// Kinds are the kinds of documents.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds())) }
