package patch_test

import (
	"encoding"
	"reflect"
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// The contract's rules of a strategic merge, on typed values: what is not written, empty or 0 keeps what is there, and so does an
// empty text in a map that has the key; switches are pointers and count whenever they are written. Sections and maps merge, lists
// grow, except where the schema names a key of their elements or says that they are replaced.

// mergeModel changes dst, which is settable, by src.
func mergeModel(dst, src reflect.Value, tag reflect.StructTag) {
	switch {
	case isScalar(src.Type()):
		if !isEmpty(src) {
			dst.Set(src)
		}
	case src.Kind() == reflect.Pointer:
		mergePointer(dst, src)
	case src.Kind() == reflect.Struct:
		for _, f := range tree.FieldsOf(src.Type()) {
			mergeModel(dst.FieldByIndex(f.Index), src.FieldByIndex(f.Index), f.Tag)
		}
	case src.IsNil():
	case tag.Get("merge") == "replace":
		dst.Set(src)
	case src.Kind() == reflect.Map:
		mergeMap(dst, src)
	case src.Kind() == reflect.Slice:
		mergeSlice(dst, src, tag)
	default:
		mergeFree(dst, src)
	}
}

func mergePointer(dst, src reflect.Value) {
	if src.IsNil() {
		return
	}

	if dst.IsNil() || src.Elem().Kind() != reflect.Struct {
		dst.Set(reflect.New(src.Type().Elem()))
	}

	if src.Elem().Kind() == reflect.Struct {
		mergeModel(dst.Elem(), src.Elem(), "")
	} else {
		dst.Elem().Set(src.Elem())
	}
}

func mergeMap(dst, src reflect.Value) {
	merged := reflect.MakeMap(dst.Type())
	for _, key := range dst.MapKeys() {
		merged.SetMapIndex(key, dst.MapIndex(key))
	}

	for _, key := range src.MapKeys() {
		element := reflect.New(dst.Type().Elem()).Elem()
		if old := dst.MapIndex(key); old.IsValid() {
			element.Set(old)
		}

		mergeModel(element, src.MapIndex(key), "")
		merged.SetMapIndex(key, element)
	}

	dst.Set(merged)
}

func mergeSlice(dst, src reflect.Value, tag reflect.StructTag) {
	keys, keyed := strings.CutPrefix(tag.Get("merge"), "key=")

	for i := range src.Len() {
		element, found := src.Index(i), -1

		for j := 0; keyed && found < 0 && j < dst.Len(); j++ {
			if sameKey(dst.Index(j), element, strings.Split(keys, ",")) {
				found = j
			}
		}

		if found < 0 {
			dst.Set(reflect.Append(dst, reflect.Zero(dst.Type().Elem())))

			found = dst.Len() - 1
		}

		mergeModel(dst.Index(found), element, "")
	}
}

func sameKey(a, b reflect.Value, keys []string) bool {
	a, b = reflect.Indirect(a), reflect.Indirect(b)

	return slices.ContainsFunc(tree.FieldsOf(a.Type()), func(f tree.Field) bool {
		x, y := a.FieldByIndex(f.Index), b.FieldByIndex(f.Index)

		return slices.Contains(keys, f.Name) && !x.IsZero() && render(x) == render(y)
	})
}

// mergeFree merges values that have no schema: maps merge, lists grow, anything else replaces.
func mergeFree(dst, src reflect.Value) {
	was, is := dst.Interface(), src.Interface()

	switch is := is.(type) {
	case map[string]any:
		old, _ := was.(map[string]any)
		merged := reflect.New(reflect.TypeFor[map[string]any]()).Elem()
		merged.Set(reflect.ValueOf(old))
		mergeMap(merged, reflect.ValueOf(is))
		dst.Set(merged)
	case []any:
		old, _ := was.([]any)
		dst.Set(reflect.ValueOf(append(slices.Clone(old), is...)))
	default:
		dst.Set(src)
	}
}

func isScalar(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return t.Kind() != reflect.Pointer
	}

	return t.Kind() == reflect.String || t.Kind() == reflect.Bool || t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64
}

func isEmpty(v reflect.Value) bool { return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 }
