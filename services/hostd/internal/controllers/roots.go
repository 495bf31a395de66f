package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cosi-project/runtime/pkg/controller"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/files"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

const (
	// bundle is the file of /etc where programs look for the certificates of authorities that they trust.
	bundle = "ssl/certs/ca-certificates.crt"
	// rootsBegin is where the configuration's begin in it; what stands before is the image's.
	rootsBegin = "# Below are the certificates of this node's TrustedRootsConfig documents.\n"
)

// Roots adds the configuration's authorities to those that the image trusts.
type Roots struct {
	Dir string // /etc
}

// Name is the owner of its resources.
func (*Roots) Name() string { return "hostd.Roots" }

// Inputs of the controller: the status says that the image's own bundle is back, so that nobody has to want it any more.
func (*Roots) Inputs() []controller.Input {
	return []controller.Input{reconcile.MachineConfigInput(), reconcile.Input(files.NamespaceName, files.EtcFileStatusType, bundle)}
}

// Outputs of the controller.
func (*Roots) Outputs() []controller.Output {
	return []controller.Output{{Type: files.EtcFileSpecType, Kind: controller.OutputShared}}
}

// Run until ctx ends.
func (c *Roots) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Each(ctx, r, func() error {
		parsed, err := reconcile.MachineConfig(ctx, r)
		if err != nil {
			return err
		}

		have, err := os.ReadFile(filepath.Join(c.Dir, bundle))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read trusted roots: %w", err)
		}

		wanted := map[string]files.EtcFileSpecSpec{}
		// What was added goes before the file is nobody's.
		if text := merged(have, parsed); text != nil && (len(config.Of[*config.TrustedRootsConfig](parsed)) > 0 || !bytes.Equal(text, have)) {
			wanted[bundle] = files.EtcFileSpecSpec{Contents: text, Mode: 0o644}
		}

		return reconcile.Publish(ctx, reconcile.Publisher{Writer: r, Owner: c.Name()}, files.NewEtcFileSpec, files.NamespaceName, wanted)
	})
}

// merged is the bundle as it should be: the image's certificates, and below them the configuration's.
func merged(have []byte, parsed *config.Config) []byte {
	own, _, _ := bytes.Cut(have, []byte(rootsBegin))

	documents := config.Of[*config.TrustedRootsConfig](parsed)
	if len(documents) == 0 {
		return own
	}

	var out bytes.Buffer

	out.Write(own)
	out.WriteString(rootsBegin)

	for _, d := range documents {
		fmt.Fprintf(&out, "\n# %s\n%s\n", strings.Join(strings.Fields(d.Name), " "), strings.TrimSpace(d.Certificates))
	}

	return out.Bytes()
}
