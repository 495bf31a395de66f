package configd_test

import (
	"bytes"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"

	"github.com/dactyl-os/dactyl/proto/config/patch"
	"github.com/dactyl-os/dactyl/proto/machine"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestPatchedAsClientsDo changes the configuration by its YAML form, as clients do that know nothing of its protobuf form.
func TestPatchedAsClientsDo(t *testing.T) {
	n := start(t, kittest.Options{})
	written := bytes.Replace(hostConfig(t, "first", ""), []byte("version: v1alpha1"), []byte("# whose it is\nversion:   v1alpha1"), 1)
	n.mustApply(written, machine.ApplyConfigurationRequest_AUTO)

	for _, change := range []string{
		`{"machine":{"network":{"hostname":"second"}}}`,
		`[{"op":"replace","path":"/machine/network/hostname","value":"third"}]`,
	} {
		seen, err := v1alpha1.NewStateClient(n.Conn()).Get(t.Context(), &v1alpha1.GetRequest{
			Namespace: configres.NamespaceName, Type: configres.MachineConfigType, Id: configres.ActiveID,
		})
		if err != nil {
			t.Fatal(err)
		}

		if got := seen.GetResource().GetSpec().GetYamlSpec(); got != n.active() || !strings.HasPrefix(got, "# whose it is\n") {
			t.Errorf("the YAML form is not the configuration: %.80q", got)
		}

		text := clientText(t, seen.GetResource())

		p, err := patch.Load(change)
		if err != nil {
			t.Fatal(err)
		}

		changed, err := patch.Apply(text, p)
		if err != nil {
			t.Fatal(err)
		}

		n.mustApply(changed, machine.ApplyConfigurationRequest_AUTO)
	}

	if got := n.active(); !strings.HasPrefix(got, "# whose it is\n") || !strings.Contains(got, `hostname: "third"`) && !strings.Contains(got, "hostname: third") {
		t.Errorf("after two patches: %.200s", got)
	}
}

// clientText is what an editor or patch works on: the YAML form through the library, which must be a mapping.
func clientText(t *testing.T, r *v1alpha1.Resource) []byte {
	t.Helper()

	decoded, err := protobuf.Unmarshal(r)
	if err != nil {
		t.Fatal(err)
	}

	text, err := yaml.Marshal(decoded.Spec())
	if err != nil {
		t.Fatal(err)
	}

	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil || node.Content[0].Kind != yaml.MappingNode {
		t.Fatalf("not a mapping (%v): %.80q", err, text)
	}

	return bytes.TrimSpace(text)
}
