package main

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/proto/config/pki"
)

func (a *app) genCACommand() *cobra.Command {
	var (
		hours        int
		organization string
		rsa          bool
	)
	cmd := &cobra.Command{
		Use: "ca", Short: "Make a certificate authority", Args: cobra.NoArgs,
		Example: "  dactylctl gen ca --organization my-cluster   # writes my-cluster.crt and my-cluster.key",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if organization == "" {
				return errors.New("for whom? Name it with --organization")
			}
			algorithm := pki.Ed25519
			if rsa {
				algorithm = pki.RSA4096
			}
			pair, err := pki.NewCA(algorithm, pki.Subject{Organization: []string{organization}, NotBefore: time.Now(), TTL: time.Duration(hours) * time.Hour})
			if err != nil {
				return err
			}

			return a.writePair(cmd, organization, pair)
		},
	}
	cmd.Flags().IntVar(&hours, "hours", 87600, "how long the certificate is valid")
	cmd.Flags().StringVar(&organization, "organization", "", "organization in the certificate, and the files' name")
	cmd.Flags().BoolVar(&rsa, "rsa", false, "make an RSA key instead of an Ed25519 one")

	return cmd
}

func (a *app) writePair(cmd *cobra.Command, name string, pair pki.Pair) error {
	if err := a.writeNew(cmd, name+".crt", pair.Crt); err != nil {
		return err
	}

	return a.writeNew(cmd, name+".key", pair.Key)
}

func (a *app) genKeyCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "key", Short: "Make an Ed25519 key", Args: cobra.NoArgs, Example: "  dactylctl gen key --name admin   # writes admin.key",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" {
				return errors.New("which file? Name it with --name")
			}
			key, err := pki.NewKey(pki.Ed25519)
			if err != nil {
				return err
			}
			data, err := pki.EncodeKey(key)
			if err != nil {
				return err
			}

			return a.writeNew(cmd, name+".key", data)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the file")

	return cmd
}

func (a *app) genCSRCommand() *cobra.Command {
	var (
		ip, keyFile string
		roles       []string
	)
	cmd := &cobra.Command{
		Use: "csr", Short: "Make a certificate request of a key", Args: cobra.NoArgs, Example: "  dactylctl gen csr --key admin.key --roles os:reader   # writes admin.csr",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if keyFile == "" {
				return errors.New("of which key? Name its file with --key")
			}
			data, err := os.ReadFile(keyFile)
			if err != nil {
				return err
			}
			key, err := pki.ParseKey(data)
			if err != nil {
				return fmt.Errorf("%s: %w", keyFile, err)
			}
			request := &x509.CertificateRequest{Subject: pkix.Name{Organization: roles}}
			if ip != "" {
				addr, err := netip.ParseAddr(ip)
				if err != nil {
					return err
				}
				request.IPAddresses = append(request.IPAddresses, addr.AsSlice())
			}
			der, err := x509.CreateCertificateRequest(rand.Reader, request, key)
			if err != nil {
				return err
			}

			return a.writeNew(cmd, strings.TrimSuffix(keyFile, ".key")+".csr", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
		},
	}
	cmd.Flags().StringVar(&ip, "ip", "", "address to name in the certificate")
	cmd.Flags().StringVar(&keyFile, "key", "", "file of the key")
	cmd.Flags().StringSliceVar(&roles, "roles", []string{"os:admin"}, "roles of the client")

	return cmd
}

func (a *app) genCrtCommand() *cobra.Command {
	var (
		ca, csr, name string
		hours         int
	)
	cmd := &cobra.Command{
		Use: "crt", Short: "Sign a certificate request", Args: cobra.NoArgs, Example: "  dactylctl gen crt --ca my-cluster --csr admin.csr --name admin   # writes admin.crt",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ca == "" || csr == "" || name == "" {
				return errors.New("name the authority with --ca, the request with --csr and the file to write with --name")
			}
			crt, err := signRequest(ca, csr, time.Duration(hours)*time.Hour)
			if err != nil {
				return err
			}

			return a.writeNew(cmd, name+".crt", crt)
		},
	}
	cmd.Flags().StringVar(&ca, "ca", "", "name of the authority: NAME.crt and NAME.key are read")
	cmd.Flags().StringVar(&csr, "csr", "", "file of the request")
	cmd.Flags().IntVar(&hours, "hours", 24, "how long the certificate is valid")
	cmd.Flags().StringVar(&name, "name", "", "name of the file")

	return cmd
}

// signRequest certifies what the request asks for, for clients and servers.
func signRequest(ca, csr string, ttl time.Duration) ([]byte, error) {
	caCrt, err1 := os.ReadFile(ca + ".crt")
	caKey, err2 := os.ReadFile(ca + ".key")
	text, err3 := os.ReadFile(csr)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	authority, err := pki.ParseCertificate(caCrt)
	if err != nil {
		return nil, fmt.Errorf("%s.crt: %w", ca, err)
	}
	key, err := pki.ParseKey(caKey)
	if err != nil {
		return nil, fmt.Errorf("%s.key: %w", ca, err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: not PEM", csr)
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", csr, err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%s: %w", csr, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: request.Subject, IPAddresses: request.IPAddresses, DNSNames: request.DNSNames,
		NotBefore: now, NotAfter: now.Add(ttl), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, authority, request.PublicKey, key)
	if err != nil {
		return nil, err
	}

	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func (a *app) genKeypairCommand() *cobra.Command {
	var ip, organization string
	cmd := &cobra.Command{
		Use: "keypair", Short: "Make a self-signed certificate and its key", Args: cobra.NoArgs,
		Example: "  dactylctl gen keypair --organization test --ip 10.5.0.1   # writes test.crt and test.key",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if organization == "" {
				return errors.New("for whom? Name it with --organization")
			}
			subject := pki.Subject{Organization: []string{organization}, NotBefore: time.Now(), TTL: 24 * time.Hour}
			if ip != "" {
				addr, err := netip.ParseAddr(ip)
				if err != nil {
					return err
				}
				subject.Addresses = []netip.Addr{addr}
			}
			pair, err := pki.NewCA(pki.Ed25519, subject)
			if err != nil {
				return err
			}

			return a.writePair(cmd, organization, pair)
		},
	}
	cmd.Flags().StringVar(&ip, "ip", "", "address to name in the certificate")
	cmd.Flags().StringVar(&organization, "organization", "", "organization in the certificate, and the files' name")

	return cmd
}
