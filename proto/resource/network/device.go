package network

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/resource/internal/wire"
)

// DeviceConfigSpecSpec holds one entry of machine.network.interfaces as YAML.
type DeviceConfigSpecSpec struct {
	Data []byte
}

// DeepCopy shares nothing with s.
func (s DeviceConfigSpecSpec) DeepCopy() DeviceConfigSpecSpec {
	return DeviceConfigSpecSpec{Data: slices.Clone(s.Data)}
}

// MarshalProto writes resource.network.DeviceConfigSpecSpec.
func (s *DeviceConfigSpecSpec) MarshalProto() ([]byte, error) {
	return wire.AppendBytes(nil, 1, s.Data), nil
}

// UnmarshalProto reads resource.network.DeviceConfigSpecSpec.
func (s *DeviceConfigSpecSpec) UnmarshalProto(data []byte) error {
	*s = DeviceConfigSpecSpec{}

	return wire.Fields(data, func(f wire.Field) (err error) {
		if f.Num == 1 {
			s.Data, err = f.Copy()
		}

		return err
	})
}

// MarshalYAML gives the entry itself, not the text of it.
func (s *DeviceConfigSpecSpec) MarshalYAML() (any, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(s.Data, &doc); err != nil {
		return nil, fmt.Errorf("device configuration: %w", err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}

	return doc.Content[0], nil
}

func (s *DeviceConfigSpecSpec) UnmarshalYAML(node *yaml.Node) (err error) {
	s.Data, err = yaml.Marshal(node)

	return err
}
