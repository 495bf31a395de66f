package resource_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestProtoFilesAreTheContract compares the .proto files with
// testdata/resource-messages.txt: names, numbers and types of every field, and
// every enumeration.
func TestProtoFilesAreTheContract(t *testing.T) {
	files := protoFiles(t)
	var (
		current protoreflect.MessageDescriptor
		message = regexp.MustCompile(`^message (\S+)$`)
		enum    = regexp.MustCompile(`^enum (talos\.\S+): (.*)$`)
		field   = regexp.MustCompile(`^  (\d+) (\S+) (.*)$`)
		left    = map[string]int{}
	)
	for _, line := range lines(t, "resource-messages.txt") {
		switch {
		case message.MatchString(line):
			current = nil
			name := message.FindStringSubmatch(line)[1]
			if !strings.HasPrefix(name, "talos.") {
				continue // the public API has its own test
			}
			d, err := files.FindDescriptorByName(protoreflect.FullName(name))
			if err != nil {
				t.Errorf("message %s: %v", name, err)

				continue
			}
			current = d.(protoreflect.MessageDescriptor)
			left[name] = current.Fields().Len()
		case enum.MatchString(line):
			m := enum.FindStringSubmatch(line)
			d, err := files.FindDescriptorByName(protoreflect.FullName(m[1]))
			if err != nil {
				t.Errorf("enum %s: %v", m[1], err)

				continue
			}
			if got := enumText(d.(protoreflect.EnumDescriptor)); got != m[2] {
				t.Errorf("enum %s: %s, want %s", m[1], got, m[2])
			}
		case current != nil && field.MatchString(line):
			m := field.FindStringSubmatch(line)
			checkField(t, current, m[1], m[2], m[3])
			left[string(current.FullName())]--
		}
	}
	for name, n := range left {
		if n != 0 {
			t.Errorf("message %s has %d fields that the contract does not know", name, n)
		}
	}
}

func checkField(t *testing.T, m protoreflect.MessageDescriptor, number, name, typ string) {
	t.Helper()
	f := m.Fields().ByName(protoreflect.Name(name))
	if f == nil {
		t.Errorf("%s: no field %s", m.FullName(), name)

		return
	}
	if typ == "google.api.expr.v1alpha1.CheckedExpr" {
		typ = "bytes" // the same on the wire; nothing here looks inside
	}
	if got := fmt.Sprint(f.Number()); got != number {
		t.Errorf("%s: number %s, want %s", f.FullName(), got, number)
	}
	if got := typeText(m, f); got != typ {
		t.Errorf("%s: type %s, want %s", f.FullName(), got, typ)
	}
}

func typeText(m protoreflect.MessageDescriptor, f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s,%s>", f.MapKey().Kind(), f.MapValue().Kind())
	case f.Enum() != nil:
		return repeated(f) + "enum " + string(f.Enum().FullName())
	case f.Message() != nil:
		name := string(f.Message().FullName())
		if f.Message().Parent() == m.Parent() {
			name = string(f.Message().Name())
		}

		return repeated(f) + name
	default:
		return repeated(f) + f.Kind().String()
	}
}

func repeated(f protoreflect.FieldDescriptor) string {
	if f.IsList() {
		return "repeated "
	}

	return ""
}

func enumText(e protoreflect.EnumDescriptor) string {
	var words []string
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		words = append(words, fmt.Sprintf("%s=%d", v.Name(), v.Number()))
	}

	return strings.Join(words, " ")
}
