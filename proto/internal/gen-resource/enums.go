package main

import (
	"strconv"

	"google.golang.org/protobuf/compiler/protogen"
)

func writeEnums(plugin *protogen.Plugin, p *goPackage) {
	g := newFile(plugin, p.path, p.name)
	g.P("package ", p.name)
	for _, e := range p.enums {
		writeEnum(g, e)
	}
}

func writeEnum(g *protogen.GeneratedFile, e *protogen.Enum) {
	name, values, base := enumName(e), enumValues(e), "uint32"
	if enumSigned(e) {
		base = "int32"
	}
	g.P()
	g.P("// ", name, " is the protobuf enumeration ", e.Desc.Name(), ".")
	g.P("type ", name, " ", base)
	g.P()
	g.P("// Values of ", name, ".")
	g.P("const (")
	for _, v := range values {
		g.P(v.goName, " ", name, " = ", v.number, " // ", v.text)
	}
	g.P(")")
	g.P()
	g.P("// String is the word that clients see.")
	g.P("func (v ", name, ") String() string {")
	g.P("switch v {")
	seen := map[int32]bool{}
	for _, v := range values {
		if !seen[v.number] {
			g.P("case ", v.goName, ":")
			g.P("return ", strconv.Quote(v.text))
		}
		seen[v.number] = true
	}
	g.P("}")
	g.P("return number(", strconv.Quote(name), ", int64(v))")
	g.P("}")
	g.P()
	g.P("func (v ", name, ") MarshalText() ([]byte, error) { return []byte(v.String()), nil }")
	g.P()
	g.P("func (v *", name, ") UnmarshalText(text []byte) error {")
	g.P("parsed, err := Parse", name, "(string(text))")
	g.P("*v = parsed")
	g.P("return err")
	g.P("}")
	g.P()
	g.P("// Parse", name, " reads the word, or the number of a value that has none.")
	g.P("func Parse", name, "(text string) (", name, ", error) {")
	g.P("switch text {")
	for _, v := range values {
		g.P("case ", strconv.Quote(v.text), ":")
		g.P("return ", v.goName, ", nil")
	}
	g.P("}")
	g.P("n, err := parseNumber(", strconv.Quote(name), ", text)")
	g.P("return ", name, "(n), err")
	g.P("}")
}
