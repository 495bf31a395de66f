// Package images moves container images between OCI layouts and registries, and serves a layout as a registry.
package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
)

// NameAnnotation holds an image's full name in a layout's index.json (OCI image-spec, annotations); containerd's importer reads
// the other one.
const (
	NameAnnotation       = "org.opencontainers.image.ref.name"
	containerdAnnotation = "io.containerd.image.name"
)

// Layout is a directory with images (OCI image-spec, image-layout).
type Layout struct{ Dir string }

// Image is one line of a layout.
type Image struct {
	Name      string
	Digest    v1.Hash
	Platforms []string
	// Size is the sum of the bytes of its layers, of all platforms.
	Size int64

	descriptor v1.Descriptor
}

func (l Layout) path() (layout.Path, error) {
	path, err := layout.FromPath(l.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s is no OCI layout (it has no index.json): make images builds one in _out/images", l.Dir)
	}

	return path, err
}

// descriptors are the images by name, sorted.
func (l Layout) descriptors() ([]Image, error) {
	path, err := l.path()
	if err != nil {
		return nil, err
	}

	index, err := path.ImageIndex()
	if err != nil {
		return nil, err
	}

	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(l.Dir, "index.json"), err)
	}

	var list []Image

	for _, d := range manifest.Manifests {
		if name := d.Annotations[NameAnnotation]; name != "" {
			list = append(list, Image{Name: name, Digest: d.Digest, descriptor: d})
		}
	}

	slices.SortFunc(list, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })

	return list, nil
}

// List gives the images with their sizes and platforms, sorted by name.
func (l Layout) List() ([]Image, error) {
	list, err := l.descriptors()
	if err != nil {
		return nil, err
	}

	for i := range list {
		if err = l.measure(&list[i]); err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", list[i].Name, l.Dir, err)
		}
	}

	return list, nil
}

func (l Layout) measure(image *Image) error {
	all, err := l.single(image.descriptor)
	if err != nil {
		return err
	}

	for _, one := range all {
		manifest, err := one.Manifest()
		if err != nil {
			return err
		}

		config, err := one.ConfigFile()
		if err != nil {
			return err
		}

		platform := "unknown"
		if known := config.Platform(); known != nil {
			platform = known.String()
		}

		image.Platforms = append(image.Platforms, platform)

		for _, layer := range manifest.Layers {
			image.Size += layer.Size
		}
	}

	return nil
}

// single gives the images of all platforms.
func (l Layout) single(d v1.Descriptor) ([]v1.Image, error) {
	path, err := l.path()
	if err != nil {
		return nil, err
	}

	if !d.MediaType.IsIndex() {
		image, err := path.Image(d.Digest)

		return []v1.Image{image}, err
	}

	root, err := path.ImageIndex()
	if err != nil {
		return nil, err
	}

	index, err := root.ImageIndex(d.Digest)
	if err != nil {
		return nil, err
	}

	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}

	var list []v1.Image

	for _, d := range manifest.Manifests {
		if !d.MediaType.IsImage() {
			continue
		}

		image, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}

		list = append(list, image)
	}

	return list, nil
}

func (l Layout) names() ([]string, error) {
	list, err := l.descriptors()

	names := make([]string, len(list))
	for i, image := range list {
		names[i] = image.Name
	}

	return names, err
}

func (l Layout) get(name string) (content, error) {
	list, err := l.descriptors()
	if err != nil {
		return nil, err
	}

	at := slices.IndexFunc(list, func(i Image) bool { return i.Name == name })
	if at < 0 {
		return nil, fmt.Errorf("no image %s in %s: dactylctl image list --layout %s names what is there", name, l.Dir, l.Dir)
	}

	path, err := l.path()
	if err != nil {
		return nil, err
	}

	if d := list[at].descriptor; !d.MediaType.IsIndex() {
		return path.Image(d.Digest)
	}

	index, err := path.ImageIndex()
	if err != nil {
		return nil, err
	}

	return index.ImageIndex(list[at].Digest)
}

func (l Layout) put(name string, c content) error {
	path, err := layout.FromPath(l.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(l.Dir, 0o755); err == nil {
			path, err = layout.Write(l.Dir, emptyIndex)
		}
	}

	if err != nil {
		return err
	}

	named := layout.WithAnnotations(map[string]string{NameAnnotation: name, containerdAnnotation: name})
	same := match.Annotation(NameAnnotation, name)

	switch c := c.(type) {
	case v1.ImageIndex:
		return path.ReplaceIndex(c, same, named)
	case v1.Image:
		return path.ReplaceImage(c, same, named)
	default:
		return fmt.Errorf("%s is neither an image nor an index of images", name)
	}
}
