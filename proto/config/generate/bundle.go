// Package generate makes cluster secrets and the machine and client configurations of a new cluster.
package generate

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
	"github.com/dactyl-os/dactyl/proto/config/pki"
)

// Lifetimes of certificates.
const (
	AuthorityTTL = 87600 * time.Hour
	ClientTTL    = 8760 * time.Hour
)

// Bundle is the secrets of a cluster, as gen secrets writes them.
type Bundle struct {
	Cluster    ClusterSecrets `yaml:"cluster"`
	Secrets    Secrets        `yaml:"secrets"`
	TrustdInfo TrustdInfo     `yaml:"trustdinfo"`
	Certs      Certs          `yaml:"certs"`
}

// ClusterSecrets identify the cluster to its members.
type ClusterSecrets struct {
	ID     string `yaml:"id"`
	Secret string `yaml:"secret"`
}

// Secrets are Kubernetes'.
type Secrets struct {
	BootstrapToken            string `yaml:"bootstraptoken"`
	AESCBCEncryptionSecret    string `yaml:"aescbcencryptionsecret,omitempty"`
	SecretboxEncryptionSecret string `yaml:"secretboxencryptionsecret,omitempty"`
}

// TrustdInfo holds the token by which workers get certificates.
type TrustdInfo struct {
	Token string `yaml:"token"`
}

// Certs are the certificate authorities and the service account key.
type Certs struct {
	Etcd              *config.CertificateAndKey `yaml:"etcd"`
	K8s               *config.CertificateAndKey `yaml:"k8s"`
	K8sAggregator     *config.CertificateAndKey `yaml:"k8saggregator"`
	K8sServiceAccount *config.Key               `yaml:"k8sserviceaccount"`
	OS                *config.CertificateAndKey `yaml:"os"`
}

// NewBundle makes new secrets; certificates count from now.
func NewBundle(now time.Time) (*Bundle, error) { return Contract{}.NewBundle(now) }

// complete makes every secret that is not there; the encryption secret only of new clusters.
func (b *Bundle) complete(now time.Time, encryption bool) error {
	texts := []struct {
		to   *string
		make func() string
	}{
		{&b.Cluster.ID, func() string { return base64.URLEncoding.EncodeToString(randomBytes()) }},
		{&b.Cluster.Secret, func() string { return base64.StdEncoding.EncodeToString(randomBytes()) }},
		{&b.Secrets.BootstrapToken, token},
		{&b.TrustdInfo.Token, token},
	}

	if encryption {
		texts = append(texts, struct {
			to   *string
			make func() string
		}{&b.Secrets.SecretboxEncryptionSecret, func() string { return base64.StdEncoding.EncodeToString(randomBytes()) }})
	}

	for _, text := range texts {
		if *text.to == "" {
			*text.to = text.make()
		}
	}

	if err := b.completeAuthorities(now); err != nil || b.Certs.K8sServiceAccount != nil {
		return err
	}

	key, err := pki.NewKey(pki.ECDSAP256)
	if err != nil {
		return err
	}

	encoded, err := pki.EncodeKey(key)
	b.Certs.K8sServiceAccount = &config.Key{Key: encoded}

	return err
}

// completeAuthorities makes every certificate authority that is not there.
func (b *Bundle) completeAuthorities(now time.Time) error {
	authorities := []struct {
		to           **config.CertificateAndKey
		organization string
		algorithm    pki.Algorithm
	}{
		{&b.Certs.Etcd, "etcd", pki.ECDSAP256},
		{&b.Certs.K8s, "kubernetes", pki.ECDSAP256},
		{&b.Certs.K8sAggregator, "front-proxy", pki.ECDSAP256},
		{&b.Certs.OS, "dactyl", pki.Ed25519},
	}

	for _, a := range authorities {
		if *a.to != nil {
			continue
		}

		pair, err := pki.NewCA(a.algorithm, pki.Subject{Organization: []string{a.organization}, NotBefore: now, TTL: AuthorityTTL})
		if err != nil {
			return fmt.Errorf("%s: %w", a.organization, err)
		}

		*a.to = &config.CertificateAndKey{Crt: pair.Crt, Key: pair.Key}
	}

	return nil
}

func randomBytes() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails since Go 1.24

	return b
}

// token is six and sixteen random letters and digits, the form of Kubernetes' bootstrap tokens.
func token() string {
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"

	var text strings.Builder

	for i := range 6 + 16 {
		if i == 6 {
			text.WriteByte('.')
		}

		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			panic(err) // the system has no randomness
		}

		text.WriteByte(alphabet[n.Int64()])
	}

	return text.String()
}

// LoadBundle reads a bundle strictly.
func LoadBundle(data []byte) (*Bundle, error) {
	docs, err := tree.Parse(data)

	switch {
	case err != nil:
		return nil, fmt.Errorf("read secrets: %w", err)
	case len(docs) != 1:
		return nil, fmt.Errorf("read secrets: %d documents, expected one", len(docs))
	}

	b := &Bundle{}

	var problems []error

	decoder := tree.Decoder{Report: func(path *tree.Path, line int, message, hint string) {
		problems = append(problems, &config.Problem{Path: path.String(), Line: line, Message: message, Hint: hint})
	}}
	decoder.Decode(docs[0], reflect.ValueOf(b).Elem(), nil)

	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}

	return b, b.check()
}

func (b *Bundle) check() error {
	for name, missing := range map[string]bool{
		"cluster.id": b.Cluster.ID == "", "cluster.secret": b.Cluster.Secret == "", "trustdinfo.token": b.TrustdInfo.Token == "",
		"secrets.bootstraptoken": b.Secrets.BootstrapToken == "", "certs.etcd": b.Certs.Etcd == nil, "certs.k8s": b.Certs.K8s == nil,
		"certs.k8saggregator": b.Certs.K8sAggregator == nil, "certs.k8sserviceaccount": b.Certs.K8sServiceAccount == nil, "certs.os": b.Certs.OS == nil,
	} {
		if missing {
			return fmt.Errorf("read secrets: %s is missing", name)
		}
	}

	return nil
}

// Bytes encodes the bundle.
func (b *Bundle) Bytes() ([]byte, error) {
	var node yaml.Node
	if err := node.Encode(b); err != nil {
		return nil, fmt.Errorf("encode secrets: %w", err)
	}

	return tree.Encode([]*yaml.Node{&node})
}

// FromConfig takes the secrets out of a control plane machine's configuration.
func FromConfig(c *config.Config) (*Bundle, error) {
	if !c.IsControlPlane() {
		return nil, errors.New("take secrets: the configuration is not that of a control plane machine")
	}

	machine, cluster := c.Machine(), c.Cluster()
	b := &Bundle{
		Cluster:    ClusterSecrets{ID: cluster.ID, Secret: cluster.Secret},
		TrustdInfo: TrustdInfo{Token: machine.Token},
		Secrets: Secrets{
			BootstrapToken: cluster.Token, AESCBCEncryptionSecret: cluster.AESCBCEncryptionSecret,
			SecretboxEncryptionSecret: cluster.SecretboxEncryptionSecret,
		},
		Certs: Certs{K8s: cluster.CA, K8sAggregator: cluster.AggregatorCA, K8sServiceAccount: cluster.ServiceAccount, OS: machine.CA},
	}

	if cluster.Etcd != nil {
		b.Certs.Etcd = cluster.Etcd.CA
	}

	return b, b.check()
}

// FromKubernetesPKI takes the authorities of a cluster made by kubeadm (the folder /etc/kubernetes/pki) and makes the rest.
// An empty bootstrap token makes a new one.
func FromKubernetesPKI(pkiDir fs.FS, bootstrapToken string, now time.Time) (*Bundle, error) {
	b := &Bundle{Secrets: Secrets{BootstrapToken: bootstrapToken}}

	for _, part := range []struct {
		to   **config.CertificateAndKey
		name string
	}{{&b.Certs.K8s, "ca"}, {&b.Certs.Etcd, "etcd/ca"}, {&b.Certs.K8sAggregator, "front-proxy-ca"}} {
		crt, crtErr := fs.ReadFile(pkiDir, part.name+".crt")

		key, keyErr := fs.ReadFile(pkiDir, part.name+".key")
		if err := errors.Join(crtErr, keyErr); err != nil {
			return nil, fmt.Errorf("take secrets: %w", err)
		}

		*part.to = &config.CertificateAndKey{Crt: crt, Key: key}
	}

	key, err := fs.ReadFile(pkiDir, "sa.key")
	if err != nil {
		return nil, fmt.Errorf("take secrets: %w", err)
	}

	b.Certs.K8sServiceAccount = &config.Key{Key: key}

	return b, b.complete(now, true)
}

// ClientPair issues a client certificate with roles, such as os:admin.
func (b *Bundle) ClientPair(roles []string, now time.Time, ttl time.Duration) (pki.Pair, error) {
	ca := pki.Pair{Crt: b.Certs.OS.Crt, Key: b.Certs.OS.Key}

	return pki.Issue(ca, pki.Ed25519, pki.Subject{Organization: roles, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: now, TTL: ttl})
}
