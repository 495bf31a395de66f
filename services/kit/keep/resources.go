package keep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
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

// Resources keeps the resources of the given kinds.
type Resources struct {
	Path  string
	Kinds []resource.Kind
	Log   *slog.Logger
}

// magic begins the file; its number changes when a reader would misunderstand what an older or newer daemon wrote.
const magic = "dactyl resources 1\n"

// Restore creates the kept resources with their owners. A file that cannot be read is told of and counts as none, all of it: half
// of what belongs together is nothing to go on from.
func (f *Resources) Restore(ctx context.Context, local state.State) {
	if err := f.restore(ctx, local); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Log.Warn("resources of the last run not used", "file", f.Path, "error", err)
	}
}

func (f *Resources) restore(ctx context.Context, local state.State) error {
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}

	if data, err = atomicfile.Unseal(data); err != nil {
		return fmt.Errorf("read: %w", err)
	}

	kept, err := decodeResources(data)
	if err != nil {
		return err
	}

	for _, r := range kept {
		if err := local.Create(ctx, r, state.WithCreateOwner(r.Metadata().Owner())); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}

	return nil
}

func decodeResources(data []byte) ([]resource.Resource, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return nil, errors.New("it does not begin with " + strings.TrimSpace(magic))
	}

	var kept []resource.Resource

	for reader := bytes.NewReader(rest); ; {
		var message cosiv1.Resource

		err := protodelim.UnmarshalFrom(reader, &message)
		if errors.Is(err, io.EOF) {
			return kept, nil
		}

		if err != nil {
			return nil, fmt.Errorf("decode: %w", err)
		}

		raw, err := protobuf.Unmarshal(&message)
		if err != nil {
			return nil, fmt.Errorf("decode resource: %w", err)
		}

		typed, err := protobuf.UnmarshalResource(raw)
		if err != nil {
			return nil, fmt.Errorf("decode resource: %w", err)
		}

		kept = append(kept, typed)
	}
}

// Follow writes the file after every change until ctx ends.
func (f *Resources) Follow(local state.State) func(context.Context) error {
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
					f.Log.Warn("resources not kept for the next run", "file", f.Path, "error", err)
				}
			}
		}
	}
}

func (f *Resources) write(ctx context.Context, local state.State) error {
	out := bytes.NewBufferString(magic)

	for _, kind := range f.Kinds {
		list, err := local.List(ctx, kind)
		if err != nil {
			return fmt.Errorf("list %s: %w", kind.Type(), err)
		}

		for _, item := range list.Items {
			if err := encode(out, item); err != nil {
				return fmt.Errorf("encode %s: %w", kind.Type(), err)
			}
		}
	}

	if err := atomicfile.Write(f.Path, atomicfile.Seal(out.Bytes()), 0o600); err != nil {
		return fmt.Errorf("write: %w", err)
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
