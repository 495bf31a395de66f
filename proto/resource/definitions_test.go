package resource_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"

	"github.com/dactyl-os/dactyl/proto/resource"
)

func TestDefinitionsAreTheContract(t *testing.T) {
	facts := readFacts(t)
	for name, want := range facts {
		d, ok := resource.Lookup(name)
		if !ok {
			t.Errorf("%s: no definition", name)

			continue
		}
		rd, err := meta.NewResourceDefinition(d.Spec())
		if err != nil {
			t.Errorf("%s: %v", name, err)

			continue
		}
		var columns []string
		for _, c := range d.Columns {
			columns = append(columns, c.Name+"="+c.JSONPath)
		}
		if got := strings.Join(columns, ", "); got != want.columns {
			t.Errorf("%s: columns %q, want %q", name, got, want.columns)
		}
		if got := rd.TypedSpec().AllAliases; !slices.Equal(got, want.aliases) {
			t.Errorf("%s: aliases %q, want %q", name, got, want.aliases)
		}
		if d.Sensitive != want.sensitive || d.Namespace != want.namespace {
			t.Errorf("%s: sensitive %v in %q, want %v in %q", name, d.Sensitive, d.Namespace, want.sensitive, want.namespace)
		}
	}
	if got, want := len(resource.Definitions()), len(facts)+2; got != want {
		t.Errorf("%d definitions, want the %d of the table and the two of cosi", got, want)
	}
}

func TestEveryTypeHasAKnownOwner(t *testing.T) {
	known := strings.Fields("init gateway configd diskd hostd networkd timed trustd discoveryd etcdd podd extd watchdogd")
	for _, d := range resource.Definitions() {
		for _, daemon := range append([]string{d.Owner}, d.Readers...) {
			if !slices.Contains(known, daemon) {
				t.Errorf("%s: %q is no daemon", d.Type, daemon)
			}
		}
		if len(d.Readers) > 0 && !d.Sensitive {
			t.Errorf("%s names readers but anyone may read it", d.Type)
		}
	}
	mc, _ := resource.Lookup("MachineConfigs.config.talos.dev")
	if mc.MayRead("gateway") || mc.MayRead("timed") || !mc.MayRead("trustd") || !mc.MayRead("configd") {
		t.Errorf("readers of the machine configuration: %+v", mc)
	}
}

// TestYAMLKeysAreTheContract compares the tags of every spec with the table.
func TestYAMLKeysAreTheContract(t *testing.T) {
	register(t)
	for name, want := range readFacts(t) {
		if want.opaque || name == "DeviceConfigSpecs.net.talos.dev" {
			continue
		}
		spec := reflect.TypeOf(newSpec(t, name)).Elem()
		got := map[string]string{}
		for i := range spec.NumField() {
			tag := spec.Field(i).Tag
			got[tag.Get("protobuf")] = tag.Get("yaml")
		}
		if name == "DNSUpstreams.net.talos.dev" {
			continue // its shape is not in the table
		}
		for num, key := range want.yaml {
			if key == "" {
				key = ",inline" // the spec is the map itself
			}
			if got[num] != key {
				t.Errorf("%s: field %s has the key %q, want %q", name, num, got[num], key)
			}
		}
		if len(got) != len(want.yaml) {
			t.Errorf("%s: fields %v, want %v", name, got, want.yaml)
		}
	}
}

func register(t *testing.T) {
	t.Helper()
	if err := resource.Register(); err != nil {
		t.Fatal(err)
	}
}

func newSpec(t *testing.T, typeName string) any {
	t.Helper()
	r, err := protobuf.CreateResource(typeName)
	if err != nil {
		t.Fatal(fmt.Errorf("create %s: %w", typeName, err))
	}

	return r.Spec()
}
