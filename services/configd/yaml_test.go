package configd_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

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

// TestWarnings: what has no effect is told when it is asked for, and what an apply puts an end to.
func TestWarnings(t *testing.T) {
	n := start(t, kittest.Options{})
	told := func(data []byte, mode machine.ApplyConfigurationRequest_Mode, change ...func(*machine.ApplyConfigurationRequest)) string {
		t.Helper()

		return strings.Join(n.mustApply(data, mode, change...).GetWarnings(), "\n")
	}

	const (
		files = "accepted, without effect until the machine's files are written: machine.env"
		lost  = "a configuration was staged for the next boot: this one takes its place, and what was staged is lost"
	)

	first := hostConfig(t, "first", "    env: {A: b}\n")
	second := hostConfig(t, "second", "    env: {A: b}\n")

	if got := told(first, machine.ApplyConfigurationRequest_AUTO, dryRun); !strings.Contains(got, files) {
		t.Errorf("dry run: %q", got)
	}

	if got := told(first, machine.ApplyConfigurationRequest_AUTO); !strings.Contains(got, files) {
		t.Errorf("first apply: %q", got)
	}

	if got := told(second, machine.ApplyConfigurationRequest_STAGED); got != "" {
		t.Errorf("nothing new that has no effect, nothing staged before: %q", got)
	}

	if got := told(second, machine.ApplyConfigurationRequest_STAGED); got != "" {
		t.Errorf("staged again: %q", got)
	}

	if got := told(first, machine.ApplyConfigurationRequest_STAGED); got != lost {
		t.Errorf("another one staged: %q", got)
	}

	if got := told(second, machine.ApplyConfigurationRequest_TRY, tryFor(time.Minute)); got != "" {
		t.Errorf("a try leaves what is staged: %q", got)
	}

	const document = "---\napiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: 10.0.0.1:1\n"

	n.mustApply(append(bytes.Clone(first), document...), machine.ApplyConfigurationRequest_NO_REBOOT)

	if got := told(first, machine.ApplyConfigurationRequest_NO_REBOOT); got != "removed with this configuration: EventSinkConfig" {
		t.Errorf("a document taken away: %q", got)
	}

	n.mustApply(second, machine.ApplyConfigurationRequest_STAGED)

	for _, want := range []string{lost, ""} {
		if got := told(hostConfig(t, "third", "    env: {A: b}\n"), machine.ApplyConfigurationRequest_NO_REBOOT); got != want {
			t.Errorf("applied: %q, want %q", got, want)
		}
	}
}
