package main

import (
	"slices"
	"strconv"

	"google.golang.org/protobuf/compiler/protogen"
)

func writePackage(plugin *protogen.Plugin, p *goPackage) {
	g := newFile(plugin, p.path, p.name)
	if p.doc != "" {
		g.P("// Package ", p.name, ": ", p.doc)
	}
	g.P("package ", p.name)
	g.P()
	writeNamespaces(g, p)
	for _, m := range p.messages {
		if m.resource != nil {
			writeResource(g, m)
		}
		if m.resource.GetHandwritten() {
			continue
		}
		writeStruct(g, m)
		writeDeepCopy(g, m)
		writeMarshal(g, m)
		writeUnmarshal(g, m)
	}
}

// writeNamespaces names the namespaces of the package's types; the one named
// as the package, or the only one, is NamespaceName.
func writeNamespaces(g *protogen.GeneratedFile, p *goPackage) {
	var all []string
	for _, m := range p.messages {
		if ns := m.resource.GetNamespace(); ns != "" && !slices.Contains(all, ns) {
			all = append(all, ns)
		}
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	g.P("// Namespaces.")
	g.P("const (")
	for _, ns := range all {
		name := "NamespaceName"
		if ns == "controlplane" {
			name = "ControlPlaneNamespaceName"
		} else if len(all) > 1 && ns != p.name {
			name = title(ns) + name
		}
		g.P(name, " = ", cosiResource.Ident("Namespace"), "(", strconv.Quote(ns), ")")
	}
	g.P(")")
	g.P()
}

func writeResource(g *protogen.GeneratedFile, m *message) {
	r, name := m.resource, m.resourceName()
	g.P("// ", name, "Type is the type of ", name, ".")
	g.P("const ", name, "Type = ", cosiResource.Ident("Type"), "(", strconv.Quote(r.GetType()), ")")
	g.P()
	g.P("// ", name, " is the resource ", r.GetType(), ", owned by ", r.GetOwner(), ".")
	g.P("type ", name, " = ", cosiTyped.Ident("Resource"), "[", m.goName, ", ", name, "Extension]")
	g.P()
	g.P("// New", name, " makes an empty ", name, "; its usual namespace is ", strconv.Quote(r.GetNamespace()), ".")
	g.P("func New", name, "(namespace ", cosiResource.Ident("Namespace"), ", id ", cosiResource.Ident("ID"), ") *", name, " {")
	g.P("return ", cosiTyped.Ident("NewResource"), "[", m.goName, ", ", name, "Extension](")
	g.P(cosiResource.Ident("NewMetadata"), "(namespace, ", name, "Type, id, ", cosiResource.Ident("VersionUndefined"), "), ", m.goName, "{})")
	g.P("}")
	g.P()
	g.P("// ", name, "Extension describes the type.")
	g.P("type ", name, "Extension struct{}")
	g.P()
	g.P("func (", name, "Extension) ResourceDefinition() ", cosiSpec.Ident("ResourceDefinitionSpec"), " {")
	g.P("return ", cosiSpec.Ident("ResourceDefinitionSpec"), "{")
	g.P("Type: ", name, "Type,")
	g.P("DefaultNamespace: ", strconv.Quote(r.GetNamespace()), ",")
	if len(r.GetAliases()) > 0 {
		g.P("Aliases: ", stringSlice(r.GetAliases()), ",")
	}
	if len(r.GetColumns()) > 0 {
		g.P("PrintColumns: []", cosiSpec.Ident("PrintColumn"), "{")
		for _, c := range r.GetColumns() {
			g.P("{Name: ", strconv.Quote(c.GetName()), ", JSONPath: ", strconv.Quote(c.GetJsonPath()), "},")
		}
		g.P("},")
	}
	if r.GetSensitive() {
		g.P("Sensitivity: ", cosiSpec.Ident("Sensitive"), ",")
	}
	g.P("}")
	g.P("}")
	g.P()
}

// typeOf is the Go type of a field as written in its struct.
func typeOf(g *protogen.GeneratedFile, f field) string {
	t := elemOf(g, f)
	if f.pointer {
		t = "*" + t
	}
	if f.repeat {
		t = "[]" + t
	}

	return t
}

func elemOf(g *protogen.GeneratedFile, f field) string {
	if f.elem.GoImportPath == "" {
		return f.elem.GoName
	}

	return g.QualifiedGoIdent(f.elem)
}

func writeStruct(g *protogen.GeneratedFile, m *message) {
	if m.resource != nil {
		g.P("// ", m.goName, " is the spec of ", m.resourceName(), ": ", m.full, ".")
	} else {
		g.P("// ", m.goName, " is ", m.full, ".")
	}
	g.P("type ", m.goName, " struct {")
	for _, f := range m.fields {
		g.P(f.goName, " ", typeOf(g, f), " `yaml:\"", f.yaml, "\" protobuf:\"", f.num, "\"`")
	}
	g.P("}")
	g.P()
}

func writeDeepCopy(g *protogen.GeneratedFile, m *message) {
	g.P("// DeepCopy shares nothing with s.")
	g.P("func (s ", m.goName, ") DeepCopy() ", m.goName, " {")
	for _, f := range m.fields {
		s := "s." + f.goName
		switch {
		case f.kind == kindStruct:
			g.P(s, " = ", wirePkg.Ident("CopyStruct"), "(", s, ")")
		case f.kind == kindStringMap:
			g.P(s, " = ", protogen.GoImportPath("maps").Ident("Clone"), "(", s, ")")
		case f.repeat && f.kind == kindMessage && f.pointer:
			g.P(s, " = ", wirePkg.Ident("CopyPointers"), "(", s, ")")
		case f.repeat && f.kind == kindMessage:
			g.P(s, " = ", wirePkg.Ident("CopySlice"), "(", s, ")")
		case f.repeat && f.kind == kindURL:
			g.P(s, " = ", wirePkg.Ident("CopyURLs"), "(", s, ")")
		case f.repeat, f.kind == kindBytes:
			g.P(s, " = ", protogen.GoImportPath("slices").Ident("Clone"), "(", s, ")")
		case f.kind == kindURL:
			g.P(s, " = ", wirePkg.Ident("CopyURL"), "(", s, ")")
		case f.kind == kindMessage && f.pointer:
			g.P(s, " = ", wirePkg.Ident("CopyPointer"), "(", s, ")")
		case f.kind == kindMessage:
			g.P(s, " = ", s, ".DeepCopy()")
		case f.pointer:
			g.P("if ", s, " != nil {")
			g.P("v := *", s)
			g.P(s, " = &v")
			g.P("}")
		}
	}
	g.P("return s")
	g.P("}")
	g.P()
}
