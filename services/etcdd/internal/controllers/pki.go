package controllers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/etcd"
	"github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/atomicfile"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// PKI writes etcd's keys and certificates to files and tells when they are there.
type PKI struct {
	// Dir of the files, only for root.
	Dir string
}

// Keys are the paths of the files.
func (c *PKI) Keys() engine.Keys {
	at := func(name string) string { return filepath.Join(c.Dir, name) }

	return engine.Keys{
		CA: at("ca.crt"), ServerCert: at("server.crt"), ServerKey: at("server.key"), PeerCert: at("peer.crt"), PeerKey: at("peer.key"),
		AdminCert: at("admin.crt"), AdminKey: at("admin.key"),
	}
}

// Name is the owner of the outputs.
func (*PKI) Name() string { return "etcdd.PKI" }

// Inputs of the controller.
func (*PKI) Inputs() []controller.Input {
	return []controller.Input{
		reconcile.Input(secrets.NamespaceName, secrets.EtcdCertsType, secrets.EtcdID),
		reconcile.Input(secrets.NamespaceName, secrets.EtcdRootType, secrets.EtcdRootID),
	}
}

// Outputs of the controller.
func (*PKI) Outputs() []controller.Output { return exclusive(etcd.PKIStatusType) }

// Run until ctx ends.
func (c *PKI) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Each(ctx, r, func() error { return c.step(ctx, r) })
}

func (c *PKI) step(ctx context.Context, r controller.Runtime) error {
	certs, err := reconcile.Find[*secrets.EtcdCerts](ctx, r, secrets.EtcdID)
	if err != nil {
		return err
	}

	root, err := reconcile.Find[*secrets.EtcdRoot](ctx, r, secrets.EtcdRootID)
	if err != nil {
		return err
	}

	out := etcd.NewPKIStatus(etcd.NamespaceName, etcd.PKIID)
	if certs == nil || root == nil || !complete(certs.TypedSpec(), root.TypedSpec()) {
		return retire(ctx, r, out.Metadata())
	}

	if err = c.write(certs.TypedSpec(), root.TypedSpec()); err != nil {
		return err
	}

	sum := sha256.Sum256(root.TypedSpec().EtcdCA.Crt)

	return safe.WriterModify(ctx, r, out, func(res *etcd.PKIStatus) error {
		res.TypedSpec().Ready = true
		// Only another CA needs a restart of etcd: it reads the other files at every handshake.
		res.TypedSpec().Version = hex.EncodeToString(sum[:8])

		return nil
	})
}

func complete(certs *secrets.EtcdCertsSpec, root *secrets.EtcdRootSpec) bool {
	return certs.Etcd != nil && certs.EtcdPeer != nil && certs.EtcdAdmin != nil && root.EtcdCA != nil
}

func (c *PKI) write(certs *secrets.EtcdCertsSpec, root *secrets.EtcdRootSpec) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory of etcd keys: %w", err)
	}

	keys := c.Keys()
	pairs := []struct {
		from      *pki.CertificateAndKey
		crt, name string
	}{
		{certs.Etcd, keys.ServerCert, keys.ServerKey}, {certs.EtcdPeer, keys.PeerCert, keys.PeerKey},
		{certs.EtcdAdmin, keys.AdminCert, keys.AdminKey},
	}

	for _, p := range pairs {
		if err := writeChanged(p.crt, p.from.Crt); err != nil {
			return err
		}

		if err := writeChanged(p.name, p.from.Key); err != nil {
			return err
		}
	}

	return writeChanged(keys.CA, root.EtcdCA.Crt)
}

func writeChanged(path string, data []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		return nil
	}

	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return fmt.Errorf("write etcd key: %w", err)
	}

	return nil
}
