package block

import (
	"encoding/base64"
	"slices"
)

// Expression is an encoded google.api.expr.v1alpha1.CheckedExpr, kept as it
// came: only diskd evaluates it.
type Expression []byte

// DeepCopy shares nothing with e.
func (e Expression) DeepCopy() Expression { return slices.Clone(e) }

func (e Expression) MarshalText() ([]byte, error) {
	return []byte(base64.StdEncoding.EncodeToString(e)), nil
}

func (e *Expression) UnmarshalText(text []byte) (err error) {
	*e, err = base64.StdEncoding.DecodeString(string(text))

	return err
}
