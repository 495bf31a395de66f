package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// TestSupportHasNoSecrets: of every key and token of the cluster nothing is in a bundle, in whatever form it is stored.
func TestSupportHasNoSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fault.zip")
	ctl(t, "-n", strings.Join(nodes(), ","), "support", "-O", file, "-w", "2")

	bundle, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer bundle.Close()

	secrets := clusterSecrets(t)
	var names []string

	for _, f := range bundle.File {
		names = append(names, f.Name)

		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}

		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}

		for name, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s has the cluster's secret %s", f.Name, name)
			}
		}
	}

	for _, want := range []string{"/logs/networkd.log", "/services.txt", "/resources/members.cluster.talos.dev.yaml", "/dependencies.dot"} {
		for _, node := range nodes() {
			if !slices.Contains(names, node+want) {
				t.Errorf("there is no %s%s", node, want)
			}
		}
	}
}

// clusterSecrets are the secrets that the cluster was made with, by their path in the file, encoded and plain.
func clusterSecrets(t *testing.T) map[string]string {
	t.Helper()

	data, err := os.ReadFile(filepath.Join(os.Getenv("HOME"), ".dactyl", "clusters", clusterName, "secrets.yaml"))
	if err != nil {
		t.Fatal(err)
	}

	var tree any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}

	found := map[string]string{}

	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch n := node.(type) {
		case map[string]any:
			for key, value := range n {
				walk(path+"."+key, value)
			}
		case string:
			// Certificates and the cluster's id are public.
			if len(n) < 16 || strings.HasSuffix(path, ".crt") || strings.HasSuffix(path, ".id") {
				return
			}

			found[path] = n
			if plain, err := base64.StdEncoding.DecodeString(n); err == nil {
				if lines := strings.Split(string(plain), "\n"); len(lines) > 2 {
					found[path+" in PEM"] = lines[1]
				}
			}
		}
	}
	walk("", tree)

	if len(found) < 8 {
		t.Fatalf("only %d secrets found: %v", len(found), data)
	}

	return found
}
