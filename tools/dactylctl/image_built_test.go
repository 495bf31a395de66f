package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config/generate"
)

// TestDefaultImagesAreBuilt: what image default and gen config name is what rootfs/images.yaml builds, at the versions that the
// modules there pin.
func TestDefaultImagesAreBuilt(t *testing.T) {
	var table struct {
		Images []struct {
			Name, Tag string
			Programs  []struct{ Module, Package string }
		}
	}
	if err := yaml.Unmarshal(must(os.ReadFile("../../rootfs/images.yaml"))(t), &table); err != nil {
		t.Fatal(err)
	}
	built := []string{generate.DefaultInstallImage} // there is no installer yet
	for _, image := range table.Images {
		p := image.Programs[0]
		tag := image.Tag
		if strings.Contains(tag, "{version}") {
			tag = strings.ReplaceAll(tag, "{version}", pinned(t, filepath.Join("../../rootfs", p.Module), p.Package))
		}
		built = append(built, image.Name+":"+tag)
	}
	named := generate.Images()
	slices.Sort(built)
	slices.Sort(named)
	if !slices.Equal(built, named) {
		t.Errorf("rootfs/images.yaml builds\n%s\nimage default names\n%s", strings.Join(built, "\n"), strings.Join(named, "\n"))
	}
	if image, daemon := pinned(t, "../../rootfs/etcd", "go.etcd.io/etcd/server/v3"), pinned(t, "../../services/etcdd", "go.etcd.io/etcd/server/v3"); image != daemon {
		t.Errorf("the image has etcd %s, etcdd %s", image, daemon)
	}
}

// pinned is the version of a package's module in the go.mod of a directory.
func pinned(t *testing.T, dir, pkg string) string {
	t.Helper()
	text := string(must(os.ReadFile(filepath.Join(dir, "go.mod")))(t))
	for module := pkg; module != "."; module = filepath.Dir(module) {
		line := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(module) + ` (v\S+)`).FindStringSubmatch(text)
		if line != nil {
			return line[1]
		}
	}
	t.Fatalf("%s/go.mod has no module of %s", dir, pkg)

	return ""
}
