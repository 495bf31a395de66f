// Package snapshot keeps the resources of this daemon over its own restart, on
// a tmpfs: a trustd that starts again goes on with the certificates that its
// earlier life issued, and whoever watches them sees no change.
package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	cosiv1 "github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	"github.com/cosi-project/runtime/pkg/state"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// quiet is how long the resources must not change before they are written.
const quiet = 20 * time.Millisecond

// File keeps the resources of the given kinds.
type File struct {
	Path  string
	Kinds []resource.Kind
	Log   *slog.Logger
}

// Restore creates the kept resources with their owners. A file that cannot be
// read costs new certificates and nothing else, so it is only reported.
func (f *File) Restore(ctx context.Context, local state.State) {
	if err := f.restore(ctx, local); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Log.Warn("certificates of the earlier life are not used", "error", err)
	}
}

func (f *File) restore(ctx context.Context, local state.State) error {
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}

	if data, err = atomicfile.Unseal(data); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}

	for reader := bytes.NewReader(data); ; {
		var message cosiv1.Resource

		err := protodelim.UnmarshalFrom(reader, &message)
		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return fmt.Errorf("decode snapshot: %w", err)
		}

		kept, err := protobuf.Unmarshal(&message)
		if err != nil {
			return fmt.Errorf("decode resource: %w", err)
		}

		typed, err := protobuf.UnmarshalResource(kept)
		if err != nil {
			return fmt.Errorf("decode resource: %w", err)
		}

		if err := local.Create(ctx, typed, state.WithCreateOwner(kept.Metadata().Owner())); err != nil {
			return fmt.Errorf("restore resource: %w", err)
		}
	}
}

// Follow writes the file after every change until ctx ends.
func (f *File) Follow(local state.State) func(context.Context) error {
	return func(ctx context.Context) error {
		events := make(chan state.Event)

		for _, kind := range f.Kinds {
			if err := local.WatchKind(ctx, kind, events); err != nil {
				return fmt.Errorf("watch %s: %w", kind.Type(), err)
			}
		}

		timer := time.NewTimer(quiet)
		defer timer.Stop()

		for {
			select {
			case <-ctx.Done():
				return nil
			case <-events:
				timer.Reset(quiet)
			case <-timer.C:
				if err := f.write(ctx, local); err != nil && ctx.Err() == nil {
					f.Log.Warn("certificates are not kept for the next life", "error", err)
				}
			}
		}
	}
}

func (f *File) write(ctx context.Context, local state.State) error {
	var out bytes.Buffer

	for _, kind := range f.Kinds {
		list, err := local.List(ctx, kind)
		if err != nil {
			return fmt.Errorf("list %s: %w", kind.Type(), err)
		}

		for _, item := range list.Items {
			if err := encode(&out, item); err != nil {
				return fmt.Errorf("encode %s: %w", kind.Type(), err)
			}
		}
	}

	if err := atomicfile.Write(f.Path, atomicfile.Seal(out.Bytes()), 0o600); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}

	return nil
}

func encode(out io.Writer, item resource.Resource) error {
	wrapped, err := protobuf.FromResource(item)
	if err != nil {
		return err
	}

	message, err := wrapped.Marshal()
	if err != nil {
		return err
	}

	_, err = protodelim.MarshalTo(out, message)

	return err
}
