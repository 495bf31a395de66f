package wire_test

import (
	"testing"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/protobuf/proto"

	"github.com/dactyl-os/dactyl/services/gateway/internal/wire"
)

func resource(typ string) *v1alpha1.Resource {
	return &v1alpha1.Resource{
		Metadata: &v1alpha1.Metadata{Namespace: "ns", Type: typ, Id: "id"},
		Spec:     &v1alpha1.Spec{YamlSpec: "a: b"},
	}
}

func requests(typ string) map[string]proto.Message {
	return map[string]proto.Message{
		"Get":     &v1alpha1.GetRequest{Namespace: "ns", Type: typ, Id: "id", Options: &v1alpha1.GetOptions{}},
		"List":    &v1alpha1.ListRequest{Namespace: "ns", Type: typ},
		"Watch":   &v1alpha1.WatchRequest{Namespace: "ns", Type: typ, ApiVersion: 1},
		"Destroy": &v1alpha1.DestroyRequest{Namespace: "ns", Type: typ, Id: "id"},
		"Create":  &v1alpha1.CreateRequest{Resource: resource(typ)},
		"Update":  &v1alpha1.UpdateRequest{NewResource: resource(typ)},
	}
}

func TestResourceTypeOfEveryRequest(t *testing.T) {
	for method, request := range requests("Members.cluster.talos.dev") {
		if got, err := wire.ResourceType(method, encode(t, request)); err != nil || got != "Members.cluster.talos.dev" {
			t.Errorf("%s: got %q, %v", method, got, err)
		}
	}

	for method := range requests("") {
		if got, err := wire.ResourceType(method, nil); err != nil || got != "" {
			t.Errorf("%s of nothing: got %q, %v", method, got, err)
		}
	}
}

func TestResourceTypeCannotBeShownTwice(t *testing.T) {
	for method, request := range requests("Open.talos.dev") {
		doubled := append(encode(t, request), encode(t, requests("Secret.talos.dev")[method])...)

		if got, err := wire.ResourceType(method, doubled); err != nil || got != "Secret.talos.dev" {
			t.Errorf("%s: got %q, %v", method, got, err)
		}
	}
}

// FuzzResourceType: the peeked type is the one the owner's decoder sees.
func FuzzResourceType(f *testing.F) {
	for _, request := range requests("Members.cluster.talos.dev") {
		f.Add(encode(f, request))
	}

	f.Add([]byte{0x12, 0x01, 'a', 0x12, 0x00})

	f.Fuzz(func(t *testing.T, data []byte) {
		var (
			get    v1alpha1.GetRequest
			update v1alpha1.UpdateRequest
		)

		if got, err := wire.ResourceType("Get", data); proto.Unmarshal(data, &get) == nil && (err != nil || got != get.GetType()) {
			t.Errorf("Get: peeked %q (%v), decoded %q", got, err, get.GetType())
		}

		got, err := wire.ResourceType("Update", data)
		if proto.Unmarshal(data, &update) != nil {
			return
		}

		if want := update.GetNewResource().GetMetadata().GetType(); err != nil || got != want {
			t.Errorf("Update: peeked %q (%v), decoded %q", got, err, want)
		}
	})
}
