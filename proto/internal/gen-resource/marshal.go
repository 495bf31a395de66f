package main

import (
	"google.golang.org/protobuf/compiler/protogen"
)

func writeMarshal(g *protogen.GeneratedFile, m *message) {
	g.P("// MarshalProto writes ", m.full, ".")
	g.P("func (s *", m.goName, ") MarshalProto() ([]byte, error) { return s.AppendProto(nil) }")
	g.P()
	g.P("// AppendProto appends ", m.full, " to b; zero fields are left out.")
	g.P("func (s *", m.goName, ") AppendProto(b []byte) ([]byte, error) {")
	if needsError(m) {
		g.P("var err error")
	}
	for _, f := range m.fields {
		writeAppend(g, f)
	}
	g.P("return b, nil")
	g.P("}")
	g.P()
}

func needsError(m *message) bool {
	for _, f := range m.fields {
		if f.kind == kindMessage || f.kind == kindStruct {
			return true
		}
	}

	return false
}

// appender is the function of package wire for one value of a kind.
func appender(k kind) string {
	return map[kind]string{
		kindBool: "AppendBool", kindVarint: "AppendVarint", kindFixed32: "AppendFixed32", kindDouble: "AppendDouble",
		kindString: "AppendString", kindBytes: "AppendBytes", kindAddr: "AppendAddr", kindPrefix: "AppendPrefix",
		kindAddrPort: "AppendAddrPort", kindDuration: "AppendDuration", kindTime: "AppendTime", kindURL: "AppendURL",
		kindStruct: "AppendStruct", kindStringMap: "AppendStringMap", kindMessage: "AppendMessage",
	}[k]
}

// asWire converts a Go value to what the appender takes.
func asWire(f field, expr string) string {
	switch f.kind {
	case kindVarint:
		if f.signed {
			return "uint64(int64(" + expr + "))"
		}

		return "uint64(" + expr + ")"
	case kindFixed32:
		return "uint32(" + expr + ")"
	case kindBytes:
		return "[]byte(" + expr + ")"
	case kindMessage:
		if !f.pointer {
			return "&" + expr
		}
	}

	return expr
}

func writeAppend(g *protogen.GeneratedFile, f field) {
	s, fn := "s."+f.goName, wirePkg.Ident(appender(f.kind))
	switch {
	case f.repeat && f.kind == kindVarint:
		g.P("b = ", wirePkg.Ident("AppendPacked"), "(b, ", f.num, ", ", s, ")")
	case f.repeat && f.kind == kindMessage:
		g.P("for i := range ", s, " {")
		g.P("if b, err = ", wirePkg.Ident("AppendElement"), "(b, ", f.num, ", ", asWire(f, s+"[i]"), "); err != nil {")
		g.P("return nil, err")
		g.P("}")
		g.P("}")
	case f.repeat:
		g.P("for i := range ", s, " {")
		g.P("b = ", wirePkg.Ident(appender(f.kind)+"Element"), "(b, ", f.num, ", ", asWire(f, s+"[i]"), ")")
		g.P("}")
	case f.kind == kindMessage && f.pointer:
		g.P("if ", s, " != nil {")
		g.P("if b, err = ", wirePkg.Ident("AppendElement"), "(b, ", f.num, ", ", s, "); err != nil {")
		g.P("return nil, err")
		g.P("}")
		g.P("}")
	case f.kind == kindMessage, f.kind == kindStruct:
		g.P("if b, err = ", fn, "(b, ", f.num, ", ", asWire(f, s), "); err != nil {")
		g.P("return nil, err")
		g.P("}")
	case f.pointer && f.kind == kindVarint:
		g.P("if ", s, " != nil {")
		g.P("b = ", wirePkg.Ident("AppendVarintElement"), "(b, ", f.num, ", ", asWire(f, "*"+s), ")")
		g.P("}")
	default:
		g.P("b = ", fn, "(b, ", f.num, ", ", asWire(f, s), ")")
	}
}

func writeUnmarshal(g *protogen.GeneratedFile, m *message) {
	g.P("// UnmarshalProto reads ", m.full, "; unknown fields are skipped.")
	g.P("func (s *", m.goName, ") UnmarshalProto(data []byte) error {")
	g.P("*s = ", m.goName, "{}")
	g.P("return ", wirePkg.Ident("Fields"), "(data, func(f ", wirePkg.Ident("Field"), ") (err error) {")
	if len(m.fields) > 0 {
		g.P("switch f.Num {")
		for _, f := range m.fields {
			g.P("case ", f.num, ":")
			writeRead(g, f)
		}
		g.P("}")
	}
	g.P("return err")
	g.P("})")
	g.P("}")
	g.P()
}

// reader is the method of wire.Field for one value of a kind.
func reader(k kind) string {
	return map[kind]string{
		kindBool: "Bool", kindVarint: "Varint", kindFixed32: "Fixed32", kindDouble: "Double", kindString: "String",
		kindBytes: "Copy", kindAddr: "Addr", kindPrefix: "Prefix", kindAddrPort: "AddrPort", kindDuration: "Duration",
		kindTime: "Time", kindURL: "URL", kindStruct: "Struct",
	}[k]
}

func writeRead(g *protogen.GeneratedFile, f field) {
	s := "s." + f.goName
	switch {
	case f.kind == kindStringMap:
		g.P("err = f.StringMap(&", s, ")")
	case f.repeat && f.kind == kindVarint:
		g.P("err = ", wirePkg.Ident("Packed"), "(f, &", s, ")")
	case f.repeat && f.kind == kindMessage:
		g.P("var v ", elemOf(g, f))
		g.P("err = f.Message(&v)")
		g.P(s, " = append(", s, ", ", map[bool]string{true: "&v", false: "v"}[f.pointer], ")")
	case f.kind == kindMessage && f.pointer:
		g.P(s, " = new(", elemOf(g, f), ")")
		g.P("err = f.Message(", s, ")")
	case f.kind == kindMessage:
		g.P("err = f.Message(&", s, ")")
	case f.repeat:
		g.P("v, e := f.", reader(f.kind), "()")
		g.P(s, ", err = append(", s, ", v), e")
	case f.kind == kindVarint || f.kind == kindFixed32 || f.kind == kindBytes:
		g.P("v, e := f.", reader(f.kind), "()")
		if f.pointer {
			g.P("converted := ", elemOf(g, f), "(v)")
			g.P(s, ", err = &converted, e")
		} else {
			g.P(s, ", err = ", convert(g, f), ", e")
		}
	default:
		g.P(s, ", err = f.", reader(f.kind), "()")
	}
}

func convert(g *protogen.GeneratedFile, f field) string {
	if t := elemOf(g, f); t != "uint64" && t != "[]byte" {
		return t + "(v)"
	}

	return "v"
}
