// Package pki holds the shapes in which resources carry PEM encoded keys and
// certificates.
package pki

import (
	"encoding/base64"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/resource/internal/wire"
)

// CertificateAndKey is common.PEMEncodedCertificateAndKey; in YAML both parts
// are base64 of the PEM text.
type CertificateAndKey struct {
	Crt []byte
	Key []byte
}

// Certificate is common.PEMEncodedCertificate.
type Certificate struct{ Crt []byte }

// Key is common.PEMEncodedKey.
type Key struct{ Key []byte }

func (c CertificateAndKey) DeepCopy() CertificateAndKey {
	return CertificateAndKey{Crt: slices.Clone(c.Crt), Key: slices.Clone(c.Key)}
}

func (c Certificate) DeepCopy() Certificate { return Certificate{Crt: slices.Clone(c.Crt)} }

func (k Key) DeepCopy() Key { return Key{Key: slices.Clone(k.Key)} }

func (c *CertificateAndKey) AppendProto(b []byte) ([]byte, error) {
	return wire.AppendBytes(wire.AppendBytes(b, 1, c.Crt), 2, c.Key), nil
}

func (c *CertificateAndKey) UnmarshalProto(data []byte) error {
	return wire.Fields(data, func(f wire.Field) (err error) {
		switch f.Num {
		case 1:
			c.Crt, err = f.Copy()
		case 2:
			c.Key, err = f.Copy()
		}

		return err
	})
}

func (c *Certificate) AppendProto(b []byte) ([]byte, error) {
	return wire.AppendBytes(b, 1, c.Crt), nil
}

func (c *Certificate) UnmarshalProto(data []byte) error { return readOne(data, &c.Crt) }

func (k *Key) AppendProto(b []byte) ([]byte, error) { return wire.AppendBytes(b, 1, k.Key), nil }

func (k *Key) UnmarshalProto(data []byte) error { return readOne(data, &k.Key) }

func readOne(data []byte, into *[]byte) error {
	return wire.Fields(data, func(f wire.Field) (err error) {
		if f.Num == 1 {
			*into, err = f.Copy()
		}

		return err
	})
}

type pairYAML struct {
	Crt string `yaml:"crt"`
	Key string `yaml:"key"`
}

type crtYAML struct {
	Crt string `yaml:"crt"`
}

type keyYAML struct {
	Key string `yaml:"key"`
}

func (c CertificateAndKey) MarshalYAML() (any, error) {
	return pairYAML{Crt: base64.StdEncoding.EncodeToString(c.Crt), Key: base64.StdEncoding.EncodeToString(c.Key)}, nil
}

func (c Certificate) MarshalYAML() (any, error) {
	return crtYAML{Crt: base64.StdEncoding.EncodeToString(c.Crt)}, nil
}

func (k Key) MarshalYAML() (any, error) {
	return keyYAML{Key: base64.StdEncoding.EncodeToString(k.Key)}, nil
}

func (c *CertificateAndKey) UnmarshalYAML(node *yaml.Node) error {
	var v pairYAML
	if err := node.Decode(&v); err != nil {
		return err
	}

	return decode(map[*[]byte]string{&c.Crt: v.Crt, &c.Key: v.Key})
}

func (c *Certificate) UnmarshalYAML(node *yaml.Node) error {
	var v crtYAML
	if err := node.Decode(&v); err != nil {
		return err
	}

	return decode(map[*[]byte]string{&c.Crt: v.Crt})
}

func (k *Key) UnmarshalYAML(node *yaml.Node) error {
	var v keyYAML
	if err := node.Decode(&v); err != nil {
		return err
	}

	return decode(map[*[]byte]string{&k.Key: v.Key})
}

func decode(values map[*[]byte]string) error {
	for into, text := range values {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return fmt.Errorf("PEM in base64: %w", err)
		}
		if len(data) > 0 {
			*into = data
		}
	}

	return nil
}
