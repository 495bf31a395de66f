package patch_test

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config/patch"
)

// TestDeletingPatchIsLikeTheModel: $patch: delete takes away the key that it stands at, or every element of a list that says the
// same beside it.
func TestDeletingPatchIsLikeTheModel(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(7, 8))}

	for range 2_000 {
		base := m.config()

		var root any
		if err := yaml.Unmarshal([]byte(base), &root); err != nil {
			t.Fatal(err)
		}

		want, change := m.deletion(root)

		text, err := yaml.Marshal(change)
		if err != nil {
			t.Fatal(err)
		}

		p, err := patch.Load(string(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}

		out, err := patch.Apply([]byte(base), p)
		if err != nil {
			t.Fatalf("%v\n%s--- patch\n%s", err, base, text)
		}

		if expected, ok := typedModel(t, want); !ok || !equal(t, base, "--- patch\n"+string(text), string(out), expected.V1Alpha1) {
			return
		}
	}
}

// deletion goes down to something and deletes it: the value without it, and the patch that does so.
func (m maker) deletion(v any) (without, change any) {
	deleted := map[string]any{"$patch": "delete"}

	switch c := v.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(c))
		if len(keys) == 0 {
			return nil, nil
		}

		key := m.pick(keys...)

		inner, patch := m.deletion(c[key])
		if patch == nil || m.IntN(4) == 0 {
			without, _ = drop(c, key)

			return without, map[string]any{key: deleted}
		}

		without, _ = exchange(inner)(c, key)

		return without, map[string]any{key: patch}
	case []any:
		return m.elementDeletion(c)
	default:
		return nil, nil
	}
}

func (m maker) elementDeletion(list []any) (without, change any) {
	if len(list) == 0 {
		return nil, nil
	}

	element, _ := list[m.IntN(len(list))].(map[string]any)
	keys := slices.Sorted(maps.Keys(element))

	if len(keys) == 0 {
		return nil, nil
	}

	key := m.pick(keys...)
	if element[key] == nil {
		return nil, nil
	}

	left := slices.DeleteFunc(slices.Clone(list), func(other any) bool {
		o, _ := other.(map[string]any)

		return reflect.DeepEqual(o[key], element[key])
	})

	return left, []any{map[string]any{key: element[key], "$patch": "delete"}}
}
