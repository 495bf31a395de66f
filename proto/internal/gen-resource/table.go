package main

import (
	"sort"
	"strconv"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

// writeTable writes the list of all types: proto/resource's table.
func writeTable(plugin *protogen.Plugin, packages []*goPackage) {
	type row struct {
		m   *message
		pkg protogen.GoImportPath
	}
	var rows []row
	for _, p := range packages {
		for _, m := range p.messages {
			if m.resource != nil {
				rows = append(rows, row{m, p.path})
			}
		}
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].m.resource.GetType() < rows[j].m.resource.GetType() })

	g := newFile(plugin, resourcePkg, "table")
	g.P("package resource")
	g.P()
	g.P("// table lists every type with its owner, readers and writers.")
	g.P("func table() []entry {")
	g.P("return []entry{")
	for _, r := range rows {
		g.P("{", r.pkg.Ident(r.m.resourceName()+"Extension"), "{}, ", strconv.Quote(r.m.resource.GetOwner()), ", ", stringSlice(r.m.resource.GetReaders()), ", ", stringSlice(r.m.resource.GetWriters()), "},")
	}
	g.P("}")
	g.P("}")
	g.P()
	g.P("// register tells cosi how to decode every type.")
	g.P("func register() []error {")
	g.P("return []error{")
	for _, r := range rows {
		name := r.m.resourceName()
		g.P(cosiProtobuf.Ident("RegisterResource"), "(", r.pkg.Ident(name+"Type"), ", &", r.pkg.Ident(name), "{}),")
	}
	g.P("}")
	g.P("}")
}

func stringSlice(values []string) string {
	if len(values) == 0 {
		return "nil"
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strconv.Quote(v)
	}

	return "[]string{" + strings.Join(quoted, ", ") + "}"
}
