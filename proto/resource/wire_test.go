package resource_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	cosi "github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dactyl-os/dactyl/proto/options"
	"github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/block"
	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"
)

// TestRoundTrip fills every field of every spec and sends it through the wire
// format, YAML and DeepCopy.
func TestRoundTrip(t *testing.T) {
	register(t)
	for _, d := range contractTypes() {
		t.Run(d.Type, func(t *testing.T) {
			r := filled(t, d)
			packed, err := protobuf.FromResource(r)
			if err != nil {
				t.Fatal(err)
			}
			back, err := protobuf.UnmarshalResource(packed)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back.Spec(), r.Spec()) {
				t.Errorf("from the wire: %+v, want %+v", back.Spec(), r.Spec())
			}
			if clone := r.DeepCopy(); !reflect.DeepEqual(clone.Spec(), r.Spec()) {
				t.Errorf("copy: %+v, want %+v", clone.Spec(), r.Spec())
			}
			text, err := yaml.Marshal(r.Spec())
			if err != nil {
				t.Fatal(err)
			}
			fromYAML := newSpec(t, d.Type)
			if err := yaml.Unmarshal(text, fromYAML); err != nil {
				t.Fatalf("from YAML: %v\n%s", err, text)
			}
			if !reflect.DeepEqual(fromYAML, r.Spec()) {
				t.Errorf("from YAML: %+v, want %+v\n%s", fromYAML, r.Spec(), text)
			}
		})
	}
}

// TestWireFormatIsTheProtoFiles reads what specs write with the descriptors of
// the .proto files: nothing is unknown, nothing is missing.
func TestWireFormatIsTheProtoFiles(t *testing.T) {
	register(t)
	messages := descriptors(t)
	for _, d := range contractTypes() {
		spec := filled(t, d).Spec()
		data, err := spec.(protobuf.ProtoMarshaler).MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		m := dynamicpb.NewMessage(messages[d.Type])
		if err := proto.Unmarshal(data, m); err != nil {
			t.Errorf("%s: %v", d.Type, err)

			continue
		}
		complete(t, d.Type, m)
		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		back := newSpec(t, d.Type)
		if err := back.(protobuf.ProtoUnmarshaler).UnmarshalProto(again); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, spec) {
			t.Errorf("%s: %+v after protobuf's own writing, want %+v", d.Type, back, spec)
		}
	}
}

func TestDamagedBytesAreErrors(t *testing.T) {
	for _, data := range [][]byte{{0x0a}, {0x0a, 0x05, 1}, {0x08, 0x01}, {0x0a, 0x02, 0x0a, 0x05}} {
		if err := new(network.AddressStatusSpec).UnmarshalProto(data); err == nil {
			t.Errorf("%x: no error", data)
		}
	}
}

func contractTypes() []resource.Definition {
	all := resource.Definitions()

	return all[:len(all)-2] // without cosi's own two
}

func filled(t *testing.T, d resource.Definition) cosi.Resource {
	t.Helper()
	r, err := protobuf.CreateResource(d.Type)
	if err != nil {
		t.Fatal(err)
	}
	*r.Metadata() = cosi.NewMetadata(d.Namespace, d.Type, "id", cosi.VersionUndefined)
	fill(t, reflect.ValueOf(r.Spec()).Elem(), 1)

	return r
}

// fill gives every field a value that is not zero and differs from its neighbours.
func fill(t *testing.T, v reflect.Value, n int) {
	t.Helper()
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, 5, 0, byte(n)})))

		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix(fmt.Sprintf("fd00::%d/64", n))))

		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort(fmt.Sprintf("10.0.0.%d:51820", n))))

		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1700000000, 500).UTC()))

		return
	case url.URL:
		v.Set(reflect.ValueOf(url.URL{Scheme: "https", Host: "10.5.0.2:6443"}))

		return
	case map[string]any:
		v.Set(reflect.ValueOf(map[string]any{"kind": "Pod", "list": []any{"a", map[string]any{"deep": true}}}))

		return
	case enums.HardwareAddr:
		v.SetBytes([]byte{2, 0, 0, 0, 0, byte(n)})

		return
	case config.MachineConfigSpec:
		v.Set(reflect.ValueOf(config.MachineConfigSpec{Data: []byte("version: v1alpha1\nmachine:\n    type: worker\n")}))

		return
	case network.DeviceConfigSpecSpec:
		v.Set(reflect.ValueOf(network.DeviceConfigSpecSpec{Data: []byte("interface: eth0\nmtu: 1450\n")}))

		return
	case block.Expression:
		v.SetBytes([]byte{10, 0})

		return
	case enums.ConntrackState, enums.Family:
		v.SetUint(2)

		return
	case enums.Protocol:
		v.SetUint(6)

		return
	case enums.VLANProtocol:
		v.SetUint(0x8100)

		return
	case enums.AddressFlags, enums.RouteFlags, enums.LinkFlags:
		v.SetUint(256 | 512)

		return
	case enums.RoutingTable, enums.Scope:
		v.SetUint(254)

		return
	case enums.NfTablesChainPriority:
		v.SetInt(-150)

		return
	}
	fillKind(t, v, n)
}

func fillKind(t *testing.T, v reflect.Value, n int) {
	t.Helper()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprintf("text-%d", n))
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1) // the one number that every enumeration has
	case reflect.Float64:
		v.SetFloat(float64(n) + 0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"a": "1", "b": ""}))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), n)
		fill(t, v.Index(1), n+1)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n+i)
		}
	default:
		t.Fatalf("no value for %s", v.Type())
	}
}

// complete fails for an unknown or an unset field at any depth.
func complete(t *testing.T, where string, m protoreflect.Message) {
	t.Helper()
	if u := m.GetUnknown(); len(u) > 0 {
		t.Errorf("%s: bytes that %s does not know: %x", where, m.Descriptor().FullName(), u)
	}
	if strings.HasPrefix(string(m.Descriptor().FullName()), "google.protobuf.") {
		return
	}
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		if !m.Has(f) {
			t.Errorf("%s: %s is not written", where, f.FullName())

			continue
		}
		switch {
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for j := range m.Get(f).List().Len() {
				complete(t, where, m.Get(f).List().Get(j).Message())
			}
		default:
			complete(t, where, m.Get(f).Message())
		}
	}
}

// descriptors finds the message of every resource type, as the compiler read the
// .proto files.
func descriptors(t *testing.T) map[string]protoreflect.MessageDescriptor {
	t.Helper()
	out := map[string]protoreflect.MessageDescriptor{}
	protoFiles(t).RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Messages().Len() {
			m := f.Messages().Get(i)
			if r, _ := proto.GetExtension(m.Options(), options.E_Resource).(*options.ResourceType); r.GetType() != "" {
				out[r.GetType()] = m
			}
		}

		return true
	})

	return out
}

func protoFiles(t *testing.T) *protoregistry.Files {
	t.Helper()
	data, err := os.ReadFile("testdata/descriptors.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}

	return files
}
