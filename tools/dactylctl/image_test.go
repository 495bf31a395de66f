package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"golang.org/x/crypto/bcrypt"

	"github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/images"
)

// testLayout makes a layout whose images have one layer of some random bytes.
func testLayout(t *testing.T, names ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	path := must(layout.Write(dir, empty.Index))(t)
	for _, name := range names {
		image := must(random.Image(2000, 1))(t)
		config := must(image.ConfigFile())(t).DeepCopy()
		config.OS, config.Architecture = "linux", "amd64"
		image = must(mutate.ConfigFile(image, config))(t)
		index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
		})
		if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{images.NameAnnotation: name})); err != nil {
			t.Fatal(err)
		}
	}

	return dir
}

// tlsFiles makes an authority and a certificate for 127.0.0.1.
func tlsFiles(t *testing.T, dir string) (ca, cert, key string) {
	t.Helper()
	authority := must(pki.NewCA(pki.ECDSAP256, pki.Subject{Organization: []string{"registry"}, NotBefore: time.Now().Add(-time.Hour), TTL: 9 * time.Hour}))(t)
	pair := must(pki.Issue(authority, pki.ECDSAP256, pki.Subject{
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: time.Now().Add(-time.Hour), TTL: 9 * time.Hour,
	}))(t)
	ca, cert, key = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "registry.crt"), filepath.Join(dir, "registry.key")
	for file, data := range map[string][]byte{ca: authority.Crt, cert: pair.Crt, key: pair.Key} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	return ca, cert, key
}

func users(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "htpasswd")
	hash := must(bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost))(t)
	if err := os.WriteFile(file, fmt.Appendf(nil, "admin:%s\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"right", "wrong"} {
		if err := os.WriteFile(filepath.Join(dir, password), []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	return file
}

// debianRegistry starts Debian's docker-registry; more is added to its configuration.
func debianRegistry(t *testing.T, more string) string {
	t.Helper()
	address := freeAddress(t)
	file := filepath.Join(t.TempDir(), "config.yml")
	config := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp:\n  addr: %s\n%s", t.TempDir(), address, more)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	startProgram(t, exec.Command("docker-registry", "serve", file))
	awaitListener(t, address)

	return address
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()

	return l.Addr().String()
}

func startProgram(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s:\n%s", cmd, out.String())
		}
	})
}

func awaitListener(t *testing.T, address string) {
	t.Helper()
	kittest.AwaitNoError(t, time.Minute, func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			err = conn.Close()
		}

		return err
	})
}

// serving runs `image serve` until the test ends.
func serving(t *testing.T, flags ...string) string {
	t.Helper()
	address := freeAddress(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	a := &app{out: io.Discard, err: io.Discard}
	root := a.root()
	root.SetArgs(append([]string{"image", "serve", "--address", address}, flags...))
	go func() { done <- root.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	awaitListener(t, address)

	return address
}

var moving = regexp.MustCompile(`127\.0\.0\.1:\d+|sha256:[0-9a-f]{64}`)

// TestImagesThroughARegistryOfOthers copies a layout to Debian's docker-registry and back, as guide 02 does with docker.
func TestImagesThroughARegistryOfOthers(t *testing.T) {
	dir := home(t)
	leave := enter(t)
	ca, cert, key := tlsFiles(t, dir)
	locked := debianRegistry(t, fmt.Sprintf("  tls: {certificate: %s, key: %s}\nauth: {htpasswd: {realm: images, path: %s}}\n", cert, key, users(t, dir)))
	plain := debianRegistry(t, "")
	from := "oci:" + testLayout(t, "registry.k8s.io/pause:3.10.2", "ghcr.io/example/tool:v1")
	login := []string{"--ca", ca, "--username", "admin", "--password-file"}
	var text strings.Builder
	say := func(args ...string) { text.WriteString(session(t, append([]string{"image"}, args...)...) + "\n") }

	say("copy", from, "docker://"+plain)
	say("copy", "docker://"+plain, "oci:back", "registry.k8s.io/pause:3.10.2")
	say("list", "--layout", "back")
	say("copy", from, "docker://"+plain+"/another/name:v2", "ghcr.io/example/tool:v1")
	say("copy", "docker://"+plain, "docker://"+plain+"/third:v3", "registry.k8s.io/pause:3.10.2")
	say("copy", "docker://"+plain, "oci:back")
	say("copy", "docker://"+plain, "oci:back", "registry.k8s.io/missing:v1")
	say("copy", from, "docker://"+plain, "registry.k8s.io/missing:v1")
	say("copy", "oci:nowhere", "docker://"+plain)
	say("copy", "nowhere", "docker://"+plain)
	say("copy", from, "docker://"+locked)
	say("copy", from, "docker://"+locked, "--ca", ca)
	say(append(append([]string{"copy", from, "docker://" + locked}, login...), filepath.Join(dir, "wrong"))...)
	say(append(append([]string{"copy", from, "docker://" + locked}, login...), filepath.Join(dir, "right"))...)
	say(append(append([]string{"copy", from, "docker://" + plain}, login...), filepath.Join(dir, "right"))...)
	say("copy", from, "docker://"+locked, "--username", "admin")
	leave()

	catalog := string(must(exec.Command("curl", "-s", "http://"+plain+"/v2/_catalog").Output())(t))
	if catalog != `{"repositories":["another/name","example/tool","pause","third"]}`+"\n" {
		t.Errorf("the registry has %s", catalog)
	}
	out := strings.NewReplacer(plain, "PLAIN", locked, "LOCKED", strings.TrimPrefix(from, "oci:"), "LAYOUT").Replace(text.String())
	kittest.Golden(t, "image.txt", moving.ReplaceAll([]byte(out), []byte("SHA")))
}

// TestContainerdPullsFromOurs: Debian's containerd, which asks mirrors with ?ns=, and curl are the judges.
func TestContainerdPullsFromOurs(t *testing.T) {
	dir := t.TempDir()
	ca, cert, key := tlsFiles(t, dir)
	source := testLayout(t, "registry.k8s.io/pause:3.10.2", "ghcr.io/example/pause:3.10.2", "ghcr.io/example/tool:v1")
	address := serving(t, "--layout", source, "--tls-cert", cert, "--tls-key", key, "--htpasswd", users(t, dir))

	hosts := filepath.Join(dir, "hosts")
	for _, registry := range []string{"registry.k8s.io", "ghcr.io"} {
		text := fmt.Sprintf("server = \"https://%s\"\nca = %q\n[host.\"https://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %q\n", address, ca, address, ca)
		if err := os.MkdirAll(filepath.Join(hosts, registry), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(hosts, registry, "hosts.toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(dir, "containerd.sock")
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n[ttrpc]\n  address = %q\n",
		dir+"/root", dir+"/state", socket, socket+".ttrpc")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startProgram(t, exec.Command("containerd", "--config", config))
	pull := func(image, password string) (string, error) {
		out, err := exec.Command("ctr", "--address", socket, "image", "pull", "--snapshotter", "native", "--hosts-dir", hosts, "--user", "admin:"+password, image).CombinedOutput()

		return string(out), err
	}
	kittest.AwaitNoError(t, time.Minute, func() error { return exec.Command("ctr", "--address", socket, "version").Run() })

	for _, image := range []string{"registry.k8s.io/pause:3.10.2", "ghcr.io/example/pause:3.10.2", "ghcr.io/example/tool:v1"} {
		out, err := pull(image, "right")
		if digest := digestOf(t, source, image); err != nil || !strings.Contains(out, digest) {
			t.Errorf("pull of %s, which is %s: %v\n%s", image, digest, err, out)
		}
	}
	for image, want := range map[string]string{"registry.k8s.io/missing:v1": "not found", "registry.k8s.io/tool:v1": "not found"} {
		if out, err := pull(image, "right"); err == nil || !strings.Contains(out, want) {
			t.Errorf("pull of %s: %v\n%s", image, err, out)
		}
	}
	if out, err := pull("ghcr.io/example/tool:v1", "wrong"); err == nil || !strings.Contains(out, "401") && !strings.Contains(out, "authorization") {
		t.Errorf("pull with a wrong password: %v\n%s", err, out)
	}
}

func digestOf(t *testing.T, dir, name string) string {
	t.Helper()
	for _, image := range must(images.Layout{Dir: dir}.List())(t) {
		if image.Name == name {
			return image.Digest.String()
		}
	}
	t.Fatalf("no %s in %s", name, dir)

	return ""
}

// TestServedNames: one image is found by every name that is its own, and by no other.
func TestServedNames(t *testing.T) {
	dir := testLayout(t, "registry.k8s.io/coredns/coredns:v1", "docker.io/library/busybox:1.36", "a.example/x:v1", "b.example/x:v1")
	base := "http://" + serving(t, "--layout", dir)
	blob := digestOf(t, dir, "a.example/x:v1")
	var text strings.Builder
	for _, path := range []string{
		"/v2/", "/v2/_catalog", "/v2/coredns/coredns/tags/list", "/v2/coredns/coredns/manifests/v1", "/v2/coredns/coredns/manifests/v2",
		"/v2/registry.k8s.io/coredns/coredns/manifests/v1", "/v2/coredns/coredns/manifests/v1?ns=registry.k8s.io",
		"/v2/registry.k8s.io/coredns/coredns/manifests/v1?ns=registry.k8s.io", "/v2/coredns/coredns/manifests/v1?ns=ghcr.io",
		"/v2/library/busybox/manifests/1.36?ns=docker.io", "/v2/x/manifests/v1", "/v2/x/manifests/v1?ns=b.example",
		"/v2/x/manifests/" + blob + "?ns=a.example", "/v2/x/blobs/" + blob + "?ns=a.example", "/v2/x/blobs/sha256:00?ns=a.example",
		"/v2/a.example/x/blobs/..%2F..%2Findex.json", "/v2/a.example/x/manifests/sha256:..%2F..%2F..%2Findex.json", "/v1/",
	} {
		answer := must(http.Get(base + path))(t)
		fmt.Fprintf(&text, "%d %s\n    %s\n", answer.StatusCode, path, answer.Header.Get("Content-Type"))
		if answer.StatusCode != http.StatusOK || strings.HasSuffix(path, "list") || strings.HasSuffix(path, "catalog") {
			var body bytes.Buffer
			must(body.ReadFrom(answer.Body))(t)
			fmt.Fprintf(&text, "    %s\n", body.String())
		}
		answer.Body.Close()
	}
	answer := must(http.Post(base+"/v2/x/blobs/uploads/", "", nil))(t)
	fmt.Fprintf(&text, "%d POST\n", answer.StatusCode)
	answer.Body.Close()
	kittest.Golden(t, "image-served.txt", moving.ReplaceAll([]byte(text.String()), []byte("SHA")))
}
