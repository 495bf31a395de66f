package config

import (
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/internal/wire"
)

// Identifiers.
const (
	// ActiveID is the machine configuration in use.
	ActiveID = "v1alpha1"
	// MachineTypeID is the one MachineType.
	MachineTypeID = "machine-type"
)

// MachineConfigSpec holds the documents of the machine configuration as they
// were written.
type MachineConfigSpec struct {
	Data []byte
}

// DeepCopy shares nothing with s.
func (s MachineConfigSpec) DeepCopy() MachineConfigSpec {
	return MachineConfigSpec{Data: slices.Clone(s.Data)}
}

// MarshalProto writes resource.config.MachineConfigSpec.
func (s *MachineConfigSpec) MarshalProto() ([]byte, error) {
	return wire.AppendBytes(nil, 1, s.Data), nil
}

// UnmarshalProto reads resource.config.MachineConfigSpec.
func (s *MachineConfigSpec) UnmarshalProto(data []byte) error {
	*s = MachineConfigSpec{}

	return wire.Fields(data, func(f wire.Field) (err error) {
		if f.Num == 1 {
			s.Data, err = f.Copy()
		}

		return err
	})
}

// YAMLText is the YAML form that clients get: the documents themselves, comments and all.
func (s *MachineConfigSpec) YAMLText() string { return string(s.Data) }

// MarshalYAML gives the first document, which is all that YAML can hold of a stream in one value.
func (s *MachineConfigSpec) MarshalYAML() (any, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(s.Data, &doc); err != nil || len(doc.Content) == 0 {
		return nil, err
	}

	return doc.Content[0], nil
}

// UnmarshalYAML takes one document.
func (s *MachineConfigSpec) UnmarshalYAML(node *yaml.Node) (err error) {
	s.Data, err = yaml.Marshal(node)

	return err
}

// MachineTypeSpec is the role of the machine; in YAML it is just the word.
type MachineTypeSpec struct {
	Value enums.MachineType
}

// DeepCopy shares nothing with s.
func (s MachineTypeSpec) DeepCopy() MachineTypeSpec { return s }

// MarshalProto writes resource.config.MachineTypeSpec.
func (s *MachineTypeSpec) MarshalProto() ([]byte, error) {
	return wire.AppendVarint(nil, 1, uint64(s.Value)), nil
}

// UnmarshalProto reads resource.config.MachineTypeSpec.
func (s *MachineTypeSpec) UnmarshalProto(data []byte) error {
	*s = MachineTypeSpec{}

	return wire.Fields(data, func(f wire.Field) error {
		v, err := f.Varint()
		if f.Num == 1 {
			s.Value = enums.MachineType(v)
		}

		return err
	})
}

func (s *MachineTypeSpec) MarshalYAML() (any, error) { return s.Value.String(), nil }

func (s *MachineTypeSpec) UnmarshalYAML(node *yaml.Node) error {
	var text string
	if err := node.Decode(&text); err != nil {
		return err
	}

	return s.Value.UnmarshalText([]byte(text))
}
