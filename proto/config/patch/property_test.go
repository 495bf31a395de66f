package patch_test

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
	"github.com/dactyl-os/dactyl/proto/config/patch"
)

// The rounds of the two properties in CI; fuzz targets go on from there. A base gets several patches in a row, since reading
// and writing is what costs.
const (
	bases     = 3_500
	perBase   = 20
	jsonBases = 3_000
	perJSON   = 10
)

// few is a tenth with -short, for the race detector.
func few(n int) int {
	if testing.Short() {
		return n / 10
	}

	return n
}

func TestStrategicPatchIsLikeTheModel(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(1, 2))}
	some := m.changes(t, 2000)

	for range few(bases) {
		in := make([]change, perBase)
		for i := range in {
			in[i] = some[m.IntN(len(some))]
		}

		if !strategicRound(t, m.config(), in) {
			return
		}
	}
}

// change is a strategic patch and what a typed reader sees of it.
type change struct {
	text  string
	patch patch.Patch
	typed *config.V1Alpha1
}

func (m maker) changes(t *testing.T, n int) []change {
	t.Helper()

	all := make([]change, n)
	for i := range all {
		text := m.config()

		p, err := patch.Load(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}

		all[i] = change{text, p, load(t, text)}
	}

	return all
}

func FuzzStrategicPatch(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		m := maker{rand.New(rand.NewPCG(seed, 3))}
		strategicRound(t, m.config(), m.changes(t, 1+m.IntN(3)))
	})
}

func load(t *testing.T, text string) *config.V1Alpha1 {
	t.Helper()

	c, err := config.Load([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}

	return c.V1Alpha1
}

func strategicRound(t *testing.T, base string, changes []change) bool {
	t.Helper()

	want := load(t, base)

	var (
		patches []patch.Patch
		texts   string
	)

	for _, c := range changes {
		mergeModel(reflect.ValueOf(want).Elem(), reflect.ValueOf(c.typed).Elem(), "")

		patches = append(patches, c.patch)
		texts += "--- patch\n" + c.text
	}

	out, err := patch.Apply([]byte(base), patches...)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, base, texts)
	}

	return equal(t, base, texts, string(out), want)
}

func equal(t *testing.T, base, changes, out string, want *config.V1Alpha1) bool {
	t.Helper()

	got, expected := render(reflect.ValueOf(load(t, out))), render(reflect.ValueOf(want))
	if got != expected {
		t.Errorf("got  %s\nwant %s\n--- base\n%s%s--- result\n%s", got, expected, base, changes, out)
	}

	return got == expected
}

func TestJSONPatchIsLikeTheModel(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(4, 5))}
	refused := 0

	for range few(jsonBases) {
		ok, taken := jsonRound(t, m)
		if !ok {
			return
		}

		if !taken {
			refused++
		}
	}

	if tried := few(jsonBases); refused < tried/10 || refused > tried*9/10 {
		t.Errorf("%d of %d patches were refused: one side is hardly tested", refused, tried)
	}
}

func FuzzJSONPatch(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		m := maker{rand.New(rand.NewPCG(seed, 6))}
		jsonRound(t, m)
	})
}

// jsonRound makes operations on a configuration and compares; taken says that they were not refused.
func jsonRound(t *testing.T, m maker) (ok, taken bool) {
	t.Helper()

	p, err := patch.Load(auditPolicyText)
	if err != nil {
		t.Fatal(err)
	}

	made, err := patch.Apply([]byte(m.config()), p)
	if err != nil {
		t.Fatal(err)
	}

	base := string(made)

	var root any
	if err := yaml.Unmarshal([]byte(base), &root); err != nil {
		t.Fatal(err)
	}

	want, taken := root, true

	var operations []operation

	for taken && len(operations) < perJSON {
		o := m.operation(want)

		next, ok := o.apply(want)
		if !ok && m.IntN(10) > 0 {
			continue // the others would not be looked at
		}

		operations = append(operations, o)
		want, taken = next, ok
	}

	text, err := yaml.Marshal(operations)
	if err != nil {
		t.Fatal(err)
	}

	if p, err = patch.Load(string(text)); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}

	out, err := patch.Apply([]byte(base), p)

	var expected *config.Config
	if taken {
		expected, taken = typedModel(t, want)
	}

	switch {
	case taken != (err == nil):
		t.Errorf("error %v, the model takes it: %v\n%s--- patch\n%s", err, taken, base, text)

		return false, taken
	case !taken:
		return true, false
	}

	return equal(t, base, "--- patch\n"+string(text), string(out), expected.V1Alpha1), true
}

func typedModel(t *testing.T, v any) (*config.Config, bool) {
	t.Helper()

	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}

	c, err := config.Load(text)

	return c, err == nil
}

// operation makes one on what is there, or nearly there; what it writes mostly is of the type that is wanted.
func (m maker) operation(root any) operation {
	o := operation{Op: m.pick("add", "add", "add", "replace", "replace", "remove", "copy", "move", "test")}
	kind := reflect.TypeFor[config.V1Alpha1]()

	o.path, kind = m.path(root, kind)

	if o.Op == "copy" || o.Op == "move" {
		// Where any value may stand.
		o.path, o.from = m.freePath(root), m.freePath(root)
	}

	there, found := lookup(root, o.path)

	switch {
	case found && (o.Op == "test" || m.IntN(4) == 0):
		o.Value = there
	case kind == nil:
		_ = m.free(7).Decode(&o.Value)
	default:
		_ = m.node(kind, "", 1).Decode(&o.Value)
	}

	o.Path, o.From = pointer(o.path), pointer(o.from)

	return o
}

var auditPolicy = []string{"cluster", "apiServer", "auditPolicy"}

const auditPolicyText = "cluster: {apiServer: {auditPolicy: {a: {b: [1, {c: x}]}, b: [a, b], c: y}}}\n"

func (m maker) freePath(root any) []string {
	free, _ := lookup(root, auditPolicy)
	path, _ := m.path(free, reflect.TypeFor[map[string]any]())

	return slices.Concat(auditPolicy, path)
}

// fieldsOf are the names of a structure's fields; there are some without any, such as a disk key that is the node's identity.
func fieldsOf(kind reflect.Type) []string {
	var names []string

	if k := tree.Indirect(kind); k != nil && k.Kind() == reflect.Struct {
		for _, field := range tree.FieldsOf(k) {
			names = append(names, field.Name)
		}
	}

	return names
}

// path goes down a value, mostly where something is or could be.
func (m maker) path(v any, kind reflect.Type) ([]string, reflect.Type) {
	var path []string

	for len(path) == 0 || m.IntN(4) > 0 {
		var keys []string

		switch container := v.(type) {
		case map[string]any:
			keys = slices.Sorted(maps.Keys(container))
			if fields := fieldsOf(kind); len(fields) > 0 && (len(keys) == 0 || m.IntN(4) == 0) {
				keys = []string{m.pick(fields...)}
			} else if len(keys) == 0 {
				keys = []string{"a"}
			}
		case []any:
			keys = []string{"-", "0", strconv.Itoa(max(0, len(container)-1))}
		default:
			if len(path) > 0 && m.IntN(20) > 0 {
				return path, kind
			}

			keys = []string{"a"}
		}

		if m.IntN(60) == 0 {
			keys = []string{"b", "7", "hostname"}
		}

		key := m.pick(keys...)
		path = append(path, key)
		v, _ = lookup(v, []string{key})

		if k := tree.Indirect(kind); k != nil && k.Kind() == reflect.Slice {
			key = ""
		}

		kind, _ = tree.Child(kind, key)
	}

	return path, kind
}

func pointer(path []string) string {
	escaped := make([]string, len(path))
	for i, key := range path {
		escaped[i] = strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
	}

	return "/" + strings.Join(escaped, "/")
}
