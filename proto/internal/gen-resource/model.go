package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dactyl-os/dactyl/proto/options"
)

// goPackage is one generated package: the messages of all .proto files that
// name it.
type goPackage struct {
	path     protogen.GoImportPath
	name     string
	doc      string
	messages []*message
	enums    []*protogen.Enum
}

// message is a spec (resource is set) or a part of one.
type message struct {
	goName   string
	full     protoreflect.FullName
	resource *options.ResourceType
	fields   []field
}

// kind says how a field is kept in Go and written on the wire.
type kind int

const (
	kindBool kind = iota
	kindVarint
	kindFixed32
	kindDouble
	kindString
	kindBytes
	kindAddr
	kindPrefix
	kindAddrPort
	kindDuration
	kindTime
	kindURL
	kindStruct
	kindStringMap
	kindMessage
)

type field struct {
	goName  string
	num     int
	kind    kind
	elem    protogen.GoIdent // Go type of one value; GoImportPath "" is a builtin
	pointer bool
	repeat  bool
	signed  bool
	yaml    string
}

func (p *goPackage) add(file *protogen.File) error {
	if comments := file.Desc.SourceLocations().ByPath(protoreflect.SourcePath{2}).LeadingComments; comments != "" && p.doc == "" {
		p.doc = strings.TrimSpace(comments)
	}
	p.enums = append(p.enums, file.Enums...)
	for _, m := range file.Messages {
		converted, err := newMessage(m)
		if err != nil {
			return err
		}
		p.messages = append(p.messages, converted)
	}

	return nil
}

func newMessage(m *protogen.Message) (*message, error) {
	out := &message{goName: string(m.Desc.Name()), full: m.Desc.FullName()}
	if r, _ := proto.GetExtension(m.Desc.Options(), options.E_Resource).(*options.ResourceType); r.GetType() != "" {
		out.resource = r
	}
	for _, f := range m.Fields {
		converted, err := newField(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Desc.FullName(), err)
		}
		out.fields = append(out.fields, converted)
	}

	return out, nil
}

func newField(f *protogen.Field) (field, error) {
	inGo, _ := proto.GetExtension(f.Desc.Options(), options.E_Field).(*options.FieldInGo)
	out := field{num: int(f.Desc.Number()), repeat: f.Desc.IsList(), yaml: f.Desc.JSONName(), goName: inGo.GetName()}
	if inGo.GetYaml() != "" {
		out.yaml = inGo.GetYaml()
	}
	if out.goName == "" {
		out.goName = goName(string(f.Desc.Name()))
	}
	if err := out.setType(f); err != nil {
		return field{}, err
	}
	switch spelled := inGo.GetGo(); spelled {
	case "":
	case "*":
		out.pointer = true
	default:
		out.elem = goType(spelled)
	}

	return out, nil
}

// setType finds the usual Go type of a protobuf type.
func (f *field) setType(from *protogen.Field) error {
	builtin := func(k kind, name string) { f.kind, f.elem = k, protogen.GoIdent{GoName: name} }
	switch from.Desc.Kind() {
	case protoreflect.BoolKind:
		builtin(kindBool, "bool")
	case protoreflect.Int32Kind:
		builtin(kindVarint, "int32")
		f.signed = true
	case protoreflect.Int64Kind:
		builtin(kindVarint, "int64")
		f.signed = true
	case protoreflect.Uint32Kind:
		builtin(kindVarint, "uint32")
	case protoreflect.Uint64Kind:
		builtin(kindVarint, "uint64")
	case protoreflect.Fixed32Kind:
		builtin(kindFixed32, "uint32")
	case protoreflect.DoubleKind:
		builtin(kindDouble, "float64")
	case protoreflect.StringKind:
		builtin(kindString, "string")
	case protoreflect.BytesKind:
		builtin(kindBytes, "[]byte")
	case protoreflect.EnumKind:
		f.kind, f.elem = kindVarint, enumsPkg.Ident(enumName(from.Enum))
		f.signed = enumSigned(from.Enum)
	case protoreflect.MessageKind:
		return f.setMessage(from)
	default:
		return fmt.Errorf("no Go type for %s", from.Desc.Kind())
	}

	return nil
}

func (f *field) setMessage(from *protogen.Field) error {
	if from.Desc.IsMap() {
		f.kind, f.elem = kindStringMap, protogen.GoIdent{GoName: "map[string]string"}

		return nil
	}
	const netip = protogen.GoImportPath("net/netip")
	known := map[protoreflect.FullName]struct {
		kind kind
		elem protogen.GoIdent
	}{
		"common.NetIP":                       {kindAddr, netip.Ident("Addr")},
		"common.NetIPPrefix":                 {kindPrefix, netip.Ident("Prefix")},
		"common.NetIPPort":                   {kindAddrPort, netip.Ident("AddrPort")},
		"common.URL":                         {kindURL, protogen.GoImportPath("net/url").Ident("URL")},
		"google.protobuf.Duration":           {kindDuration, protogen.GoImportPath("time").Ident("Duration")},
		"google.protobuf.Timestamp":          {kindTime, protogen.GoImportPath("time").Ident("Time")},
		"google.protobuf.Struct":             {kindStruct, protogen.GoIdent{GoName: "map[string]any"}},
		"common.PEMEncodedCertificateAndKey": {kindMessage, pkiPkg.Ident("CertificateAndKey")},
		"common.PEMEncodedCertificate":       {kindMessage, pkiPkg.Ident("Certificate")},
		"common.PEMEncodedKey":               {kindMessage, pkiPkg.Ident("Key")},
	}
	if k, ok := known[from.Message.Desc.FullName()]; ok {
		f.kind, f.elem = k.kind, k.elem
		f.pointer = k.kind == kindURL

		return nil
	}
	f.kind, f.elem = kindMessage, protogen.GoIdent{GoName: string(from.Message.Desc.Name()), GoImportPath: from.Message.GoIdent.GoImportPath}

	return nil
}

// goType reads a type written in an option: "uint16", "enums.AddressFlags".
func goType(spelled string) protogen.GoIdent {
	pkg, name, found := strings.Cut(spelled, ".")
	if !found {
		return protogen.GoIdent{GoName: spelled}
	}
	switch pkg {
	case "fs":
		return protogen.GoImportPath("io/fs").Ident(name)
	default:
		return (resourcePkg + "/" + protogen.GoImportPath(pkg)).Ident(name)
	}
}

// resourceName is the Go name of a resource: its spec's name without "Spec".
func (m *message) resourceName() string { return strings.TrimSuffix(m.goName, "Spec") }
