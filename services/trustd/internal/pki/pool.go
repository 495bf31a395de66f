package pki

import (
	"bytes"
	"crypto/x509"
	"fmt"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
)

// Pool holds the given CA certificates, each PEM.
func Pool(cas ...[]byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()

	for _, ca := range cas {
		certs, err := keys.ParseCertificates(ca)
		if err != nil {
			return nil, fmt.Errorf("read accepted CA: %w", err)
		}

		for _, cert := range certs {
			pool.AddCert(cert)
		}
	}

	return pool, nil
}

// Accepted lists the CAs to trust: the issuing one first, then the others,
// without repetition and in their order.
func Accepted(issuing []byte, others ...[]byte) [][]byte {
	var list [][]byte

	for _, ca := range append([][]byte{issuing}, others...) {
		ca = bytes.TrimSpace(ca)
		if len(ca) == 0 || contains(list, ca) {
			continue
		}

		list = append(list, append(bytes.Clone(ca), '\n'))
	}

	return list
}

func contains(list [][]byte, ca []byte) bool {
	for _, known := range list {
		if bytes.Equal(bytes.TrimSpace(known), ca) {
			return true
		}
	}

	return false
}
