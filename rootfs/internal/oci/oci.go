// Package oci packs trees into container images (OCI image-spec) and keeps them in a layout, the same bytes from the same content.
package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/dactyl-os/dactyl/rootfs/internal/image"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// Annotations of index.json: the full name, for our tools and for containerd's importer, and what the image was made from.
const (
	NameAnnotation       = "org.opencontainers.image.ref.name"
	containerdAnnotation = "io.containerd.image.name"
	keyAnnotation        = "os.dactyl.key"
)

// Platform is an image for one architecture.
type Platform struct {
	Arch   string
	Tree   *tree.Tree
	Config v1.Config
}

// Layout is a directory with images.
type Layout struct{ path layout.Path }

// Open makes the layout when it is not there.
func Open(dir string) (Layout, error) {
	path, err := layout.FromPath(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			path, err = layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
		}
	}

	return Layout{path}, err
}

// Has is true when the layout has the image, made from what the key stands for.
func (l Layout) Has(name, key string) (bool, error) {
	index, err := l.path.ImageIndex()
	if err != nil {
		return false, err
	}

	manifest, err := index.IndexManifest()
	if err != nil {
		return false, err
	}

	for _, d := range manifest.Manifests {
		if d.Annotations[NameAnnotation] == name && d.Annotations[keyAnnotation] == key {
			return true, nil
		}
	}

	return false, nil
}

// Put packs an image and gives its digest; one of the same name goes.
func (l Layout) Put(ctx context.Context, name, key string, platforms []Platform) (v1.Hash, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)

	for _, p := range platforms {
		if err := ctx.Err(); err != nil {
			return v1.Hash{}, err
		}

		one, err := p.image()
		if err != nil {
			return v1.Hash{}, fmt.Errorf("image for %s: %w", p.Arch, err)
		}

		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: one, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: p.Arch}},
		})
	}

	err := l.path.ReplaceIndex(index, match.Annotation(NameAnnotation, name), layout.WithAnnotations(map[string]string{
		NameAnnotation: name, containerdAnnotation: name, keyAnnotation: key,
	}))
	if err != nil {
		return v1.Hash{}, err
	}

	return index.Digest()
}

// Clean removes what no image needs any more.
func (l Layout) Clean() error {
	unused, err := l.path.GarbageCollect()
	if err != nil {
		return err
	}

	for _, hash := range unused {
		if err = l.path.RemoveBlob(hash); err != nil {
			return err
		}
	}

	return nil
}

func (p Platform) image() (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return archive(p.Tree), nil },
		tarball.WithCompression(compression.ZStd), tarball.WithCompressionLevel(3), tarball.WithMediaType(types.OCILayerZStd),
		tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}

	packed := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)

	packed, err = mutate.AppendLayers(packed, layer)
	if err != nil {
		return nil, err
	}

	config, err := packed.ConfigFile()
	if err != nil {
		return nil, err
	}

	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config = "linux", p.Arch, p.Config
	// Not the commit's time: what does not change must not change with a commit.
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.History = nil

	return mutate.ConfigFile(packed, config)
}

// archive gives the tree as a tar.
func archive(t *tree.Tree) io.ReadCloser {
	reader, writer := io.Pipe()

	// Not the commit's time here either.
	go func() { writer.CloseWithError(image.WriteTar(writer, t.Entries(), 0)) }()

	return reader
}
