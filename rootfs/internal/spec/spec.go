// Package spec reads the lists that say what an image holds: kernel.yaml, packages.yaml, programs.yaml, tree.yaml and
// images.yaml.
package spec

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v4"
)

// Spec is what an image holds, besides our own programs, and what container images there are.
type Spec struct {
	Kernel   Kernel
	Packages Packages
	Programs Programs
	Tree     Tree
	Images   Images
}

// Kernel is kernel.yaml.
type Kernel struct {
	Package string            `yaml:"package"`
	Version string            `yaml:"version"`
	Release string            `yaml:"release"`
	SHA256  map[string]string `yaml:"sha256"`
	Stage1  []string          `yaml:"stage1"`
	Modules []string          `yaml:"modules"`
	Without []string          `yaml:"without"`
}

// Packages is packages.yaml.
type Packages struct {
	Loader   map[string]string `yaml:"loader"`
	Packages []Package         `yaml:"packages"`
}

// Package is one Debian package and what is taken from it.
type Package struct {
	Name    string            `yaml:"name"`
	Version string            `yaml:"version"`
	SHA256  map[string]string `yaml:"sha256"`
	// Programs go to /usr/bin, libraries to /usr/lib, files stay where they are.
	Programs  []string `yaml:"programs"`
	Libraries []string `yaml:"libraries"`
	Files     []string `yaml:"files"`
	// Directories are taken whole, files and links.
	Directories []string          `yaml:"directories"`
	Links       map[string]string `yaml:"links"`
	// Certificates is a directory whose *.crt files become the bundle of trusted roots.
	Certificates string `yaml:"certificates"`
	// Build packages are only needed to build programs.
	Build bool `yaml:"build"`
}

// Programs is programs.yaml.
type Programs struct {
	Programs []Program `yaml:"programs"`
}

// Program is an upstream program; its version is in go.mod.
type Program struct {
	// Module is the directory below rootfs whose go.mod has the program; empty for rootfs itself.
	Module  string   `yaml:"module"`
	Package string   `yaml:"package"`
	Path    string   `yaml:"path"`
	Tags    []string `yaml:"tags"`
	LDFlags string   `yaml:"ldflags"`
	CGO     bool     `yaml:"cgo"`
	// Seconds is about how long two processors compile it when nothing was compiled before.
	Seconds int `yaml:"seconds"`
}

// Images is images.yaml: the container images.
type Images struct {
	Links    map[string]string `yaml:"links"`
	Files    map[string]string `yaml:"files"`
	Packages []Package         `yaml:"packages"`
	Images   []Container       `yaml:"images"`
}

// Container is one container image.
type Container struct {
	Name string `yaml:"name"`
	// Tag is {version} for the first program's version.
	Tag      string    `yaml:"tag"`
	Programs []Program `yaml:"programs"`
	// Packages are names of packages.yaml and images.yaml.
	Packages   []string          `yaml:"packages"`
	Links      map[string]string `yaml:"links"`
	Entrypoint []string          `yaml:"entrypoint"`
	Env        []string          `yaml:"env"`
	User       string            `yaml:"user"`
}

// Tree is tree.yaml.
type Tree struct {
	Directories []Directory       `yaml:"directories"`
	Links       map[string]string `yaml:"links"`
	Files       map[string]string `yaml:"files"`
	// Images are directories that are packed apart and mounted into the root.
	Images []Image `yaml:"images"`
}

// Image is a place that is packed apart, and how (image.Packing).
type Image struct {
	Path    string `yaml:"path"`
	Packing string `yaml:"packing"`
}

// Directory is a place in the root filesystem; the mode is octal, 0755 when empty.
type Directory struct {
	Path string `yaml:"path"`
	Mode string `yaml:"mode"`
}

// Load reads the five files from dir. Unknown keys are errors.
func Load(dir string) (*Spec, error) {
	s := &Spec{}

	for name, into := range map[string]any{
		"kernel.yaml": &s.Kernel, "packages.yaml": &s.Packages, "programs.yaml": &s.Programs, "tree.yaml": &s.Tree,
		"images.yaml": &s.Images,
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}

		decoder := yaml.NewDecoder(bytes.NewReader(data))
		decoder.KnownFields(true)

		if err = decoder.Decode(into); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}

	return s, nil
}
