package frame

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// validText replaces what is not UTF-8 in every string of a message. Names and arguments on a node may have any byte in them,
// and one of those keeps protobuf from encoding the whole message.
func validText(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			validMap(value.Map(), field.MapValue())
		case field.IsList():
			for i := range value.List().Len() {
				if fixed, changed := valid(field, value.List().Get(i)); changed {
					value.List().Set(i, fixed)
				}
			}
		default:
			if fixed, changed := valid(field, value); changed {
				m.Set(field, fixed)
			}
		}

		return true
	})
}

func validMap(entries protoreflect.Map, field protoreflect.FieldDescriptor) {
	type entry struct {
		key   protoreflect.MapKey
		value protoreflect.Value
	}

	var wrong []entry

	entries.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		fixed, changed := valid(field, value)
		if text, isText := key.Interface().(string); changed || isText && strings.ToValidUTF8(text, "") != text {
			wrong = append(wrong, entry{key, fixed})
		}

		return true
	})

	for _, e := range wrong {
		entries.Clear(e.key)

		if text, isText := e.key.Interface().(string); isText {
			e.key = protoreflect.ValueOfString(strings.ToValidUTF8(text, "\uFFFD")).MapKey()
		}

		entries.Set(e.key, e.value)
	}
}

// valid gives the text in place of one that is not valid; messages are changed as they are.
func valid(field protoreflect.FieldDescriptor, value protoreflect.Value) (protoreflect.Value, bool) {
	switch field.Kind() {
	case protoreflect.StringKind:
		fixed := strings.ToValidUTF8(value.String(), "\uFFFD")

		return protoreflect.ValueOfString(fixed), fixed != value.String()
	case protoreflect.MessageKind, protoreflect.GroupKind:
		validText(value.Message())
	}

	return value, false
}
