package controllers

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/files"
	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// EtcFiles writes the files of /etc that specifications ask for. One that is no longer asked for stays as it is.
//
// Inputs: EtcFileSpec (own, made by other daemons). Outputs: EtcFileStatus; files.
type EtcFiles struct {
	Dir string // /etc
	Log *slog.Logger
}

// Name is the owner of the outputs.
func (*EtcFiles) Name() string { return "hostd.EtcFiles" }

// Inputs of the controller.
func (*EtcFiles) Inputs() []controller.Input {
	return []controller.Input{{Namespace: files.NamespaceName, Type: files.EtcFileSpecType, Kind: controller.InputWeak}}
}

// Outputs of the controller.
func (*EtcFiles) Outputs() []controller.Output {
	return []controller.Output{{Type: files.EtcFileStatusType, Kind: controller.OutputExclusive}}
}

// Run until ctx ends.
func (c *EtcFiles) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Each(ctx, r, func() error { return c.step(ctx, r) })
}

func (c *EtcFiles) step(ctx context.Context, r controller.Runtime) error {
	specs, err := safe.ReaderListAll[*files.EtcFileSpec](ctx, r)
	if err != nil {
		return fmt.Errorf("list file specifications: %w", err)
	}

	written := map[string]files.EtcFileStatusSpec{}

	for spec := range specs.All() {
		id := spec.Metadata().ID()

		if err = c.write(id, spec.TypedSpec()); err != nil {
			c.Log.Error("file not written", "file", id, "error", err) // the others are

			continue
		}

		written[id] = files.EtcFileStatusSpec{SpecVersion: spec.Metadata().Version().String()}
	}

	return reconcile.Publish(ctx, reconcile.Publisher{Writer: r, Owner: c.Name()}, files.NewEtcFileStatus, files.NamespaceName, written)
}

func (c *EtcFiles) write(id string, spec *files.EtcFileSpecSpec) error {
	if !filepath.IsLocal(id) {
		return fmt.Errorf("%q is not below %s", id, c.Dir)
	}

	if !utf8.Valid(spec.Contents) || bytes.IndexByte(spec.Contents, 0) >= 0 {
		return fmt.Errorf("%q is no text", id)
	}

	path := filepath.Join(c.Dir, id)
	mode := spec.Mode & fs.ModePerm

	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, spec.Contents) {
		return os.Chmod(path, mode)
	}

	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}

	return atomicfile.Write(path, spec.Contents, mode)
}
