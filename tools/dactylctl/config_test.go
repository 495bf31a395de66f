package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestConfigCommands runs a life of a client configuration file as one session.
func TestConfigCommands(t *testing.T) {
	dir := home(t)
	leave := enter(t)
	other := &clientconfig.Config{Context: "demo", Contexts: map[string]*clientconfig.Context{"demo": {Endpoints: []string{"10.5.0.2"}}}}
	if err := other.Write("talosconfig"); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, line := range []string{
		"config contexts", "config info", "config merge talosconfig", "config merge talosconfig", "config contexts",
		"config node 10.5.0.2,10.5.0.3", "config endpoint 10.5.0.2 10.5.0.4", "config info", "config info -o yaml",
		"config add second", "config add second", "config contexts", "config context demo", "config context nothing",
		"config endpoint https://10.5.0.2", "config node 10.5.0.2/24", "config remove second --dry-run", "config remove sec* -y", "config remove nothing", "config contexts", "config merge missing",
	} {
		text.WriteString(session(t, strings.Fields(line)...) + "\n")
	}
	leave()
	kittest.Golden(t, "config.txt", []byte(text.String()))
	info, err := os.Stat(filepath.Join(dir, ".dactyl", "config"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file holds a key and has the mode %v (%v)", info.Mode(), err)
	}
}

func TestWhereTheConfigurationIsLookedFor(t *testing.T) {
	dir := home(t)
	write := func(path, name string) {
		file := &clientconfig.Config{Context: name, Contexts: map[string]*clientconfig.Context{name: {Endpoints: []string{"10.0.0.1"}}}}
		if err := file.Write(path); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string, flags ...string) {
		t.Helper()
		if got := session(t, append(flags, "config", "contexts")...); !strings.Contains(got, " "+want+" ") {
			t.Errorf("want the context %s: %s", want, got)
		}
	}
	write(filepath.Join(dir, ".talos", "config"), "talos-home")
	expect("talos-home")
	write(filepath.Join(dir, ".dactyl", "config"), "dactyl-home")
	expect("dactyl-home")
	own := filepath.Join(dir, "own")
	write(own, "env")
	t.Setenv("DACTYLCONFIG", own)
	expect("env")
	flagged := filepath.Join(dir, "flagged")
	write(flagged, "flag")
	expect("flag", "--talosconfig", flagged)
	expect("flag", "--dactylconfig", flagged)
}

// TestDialFailures has a golden file of every way in which dialling fails.
func TestDialFailures(t *testing.T) {
	dir := home(t)
	now := time.Now().Add(-2 * time.Hour)
	ca := must(pki.NewCA(pki.Ed25519, pki.Subject{Organization: []string{"a"}, NotBefore: now, TTL: 9 * time.Hour}))(t)
	other := must(pki.NewCA(pki.Ed25519, pki.Subject{Organization: []string{"b"}, NotBefore: now, TTL: 9 * time.Hour}))(t)
	client := func(by pki.Pair, ttl time.Duration) pki.Pair {
		return must(pki.Issue(by, pki.Ed25519, pki.Subject{
			Organization: []string{"os:admin"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: now, TTL: ttl,
		}))(t)
	}
	address, handshakes := tlsServer(t, ca, now)
	server := must(pki.Issue(ca, pki.Ed25519, pki.Subject{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: now, TTL: 9 * time.Hour}))(t)
	var text strings.Builder
	text.WriteString(session(t, "version", "--short") + "\n")
	for _, test := range []struct {
		what, endpoint string
		ca, crt        pki.Pair
	}{
		{"nothing listens", "127.0.0.1:1", ca, client(ca, time.Hour*9)},
		{"the name is not known", "nowhere.invalid", ca, client(ca, time.Hour*9)},
		{"the server is of another cluster", address, other, client(ca, time.Hour*9)},
		{"the client is of another cluster", address, ca, client(other, time.Hour*9)},
		{"the client's certificate has expired", address, ca, client(ca, time.Hour)},
		{"the client's certificate is a server's", address, ca, server},
		{"the server is named otherwise", strings.Replace(address, "127.0.0.1", "127.0.0.2", 1), ca, client(ca, time.Hour*9)},
	} {
		file := &clientconfig.Config{Context: "test", Contexts: map[string]*clientconfig.Context{
			"test": clientconfig.NewContext([]string{test.endpoint}, test.ca.Crt, test.crt.Crt, test.crt.Key),
		}}
		if err := file.Write(filepath.Join(dir, ".dactyl", "config")); err != nil {
			t.Fatal(err)
		}
		handshakes.Store(0)
		text.WriteString("# " + test.what + "\n" + session(t, "version", "--short") + "\n")
		// gRPC may begin one more connection before the client lets go of it.
		if n := handshakes.Load(); n > 2 {
			t.Errorf("%s: tried %d times what cannot heal", test.what, n)
		}
	}
	for _, args := range [][]string{
		{"-e", "https://10.8.0.2:50000"}, {"-e", "10.8.0.2:99999"}, {"-e", "fe80::1"}, {"-e", "10.8.0.2/24"}, {"-n", "10.8.0.2:50000"}, {"-n", "10.8.0.2/24"}, {"-n", "bad name"}, {"-n", "fe80::1"},
	} {
		text.WriteString(session(t, append(args, "get", "links")...) + "\n")
	}
	text.WriteString("# another machine has the address\n" + session(t, "-n", address, "version", "--insecure", "--short", "--cert-fingerprint", "abc") + "\n")
	text.WriteString("# several endpoints, no node\n" + session(t, "-e", "10.0.0.1,10.0.0.2", "version", "--short") + "\n")
	text.WriteString("# no such context\n" + session(t, "--context", "other", "version", "--short") + "\n")
	got := strings.ReplaceAll(stable(text.String()), address[strings.LastIndex(address, ":"):], ":PORT")
	kittest.Golden(t, "dial.txt", []byte(fingerprint(got)))
}

func fingerprint(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if before, _, found := strings.Cut(l, "has the fingerprint "); found {
			lines[i] = before + "has the fingerprint ···"
		}
	}

	return strings.Join(lines, "\n")
}

// tlsServer listens on all loopback addresses and asks for a certificate of
// the authority; it is named 127.0.0.1 only.
func tlsServer(t *testing.T, ca pki.Pair, now time.Time) (address string, handshakes *atomic.Int64) {
	t.Helper()
	handshakes = new(atomic.Int64)
	pair := must(pki.Issue(ca, pki.Ed25519, pki.Subject{
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: now, TTL: 9 * time.Hour,
	}))(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.Crt)
	l := must(tls.Listen("tcp", "0.0.0.0:0", &tls.Config{
		Certificates: []tls.Certificate{must(tls.X509KeyPair(pair.Crt, pair.Key))(t)}, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
	}))(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				handshakes.Add(1)
				// A failed handshake sends its alert; there is nothing behind a good one.
				_ = conn.(*tls.Conn).Handshake()
				time.Sleep(50 * time.Millisecond) // let the alert be read before the reset
				conn.Close()
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())

	return "127.0.0.1:" + port, handshakes
}

func TestGenerate(t *testing.T) {
	home(t)
	leave := enter(t)
	defer leave()
	var text strings.Builder
	for _, line := range []string{
		"gen secrets", "gen secrets", "gen secrets --force", "gen config demo 10.5.0.2 --with-secrets secrets.yaml -o out",
		"validate -c out/controlplane.yaml -m metal", "validate -c out/worker.yaml -m container --strict", "validate -c out/talosconfig -m metal", "validate -c secrets.yaml -m nowhere",
		"gen config demo 10.5.0.2 --with-secrets secrets.yaml -t nothing", "gen config demo ftp://x", "gen config demo 10.5.0.2 --talos-version v2.0",
		"gen config demo https://10.5.0.2:99999", "gen config a/b 10.5.0.2", "gen config demo 10.5.0.2 --kubernetes-version abc", `machineconfig patch out/worker.yaml -p {"$patch":"delete"}`,
		"gen config demo 10.5.0.2 --with-secrets secrets.yaml --talos-version v1.6 -o old", "validate -c old/worker.yaml -m cloud", "validate -c old/worker.yaml -m container",
		"machineconfig patch out/worker.yaml -p machine:{} -o patched.yaml", "machineconfig patch out/worker.yaml -p @missing.yaml",
		"gen ca --organization demo", "gen key --name admin", "gen csr --key admin.key --roles os:reader", "gen crt --ca demo --csr admin.csr --name admin", "gen keypair --organization pair --ip 10.0.0.1", "gen crt --ca x",
		"config add made --ca demo.crt --crt admin.crt --key admin.key",
	} {
		text.WriteString(session(t, strings.Fields(line)...) + "\n")
	}
	leave()
	kittest.Golden(t, "gen.txt", []byte(text.String()))
	info := session(t, "config", "info")
	if !strings.Contains(info, "os:reader") {
		t.Error(info)
	}
	if got := session(t, "gen", "config", "demo", "10.5.0.2", "-t", "worker", "-o", "-"); !strings.Contains(got, "type: worker") {
		t.Error(got)
	}
}

// enter goes to an empty directory until leave is called.
func enter(t *testing.T) (leave func()) {
	t.Helper()
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	change := func(dir string) {
		if err := os.Chdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	change(t.TempDir())

	return func() { change(before) }
}

// TestHelp pins the names, flags and defaults of every command.
func TestHelp(t *testing.T) {
	home(t)
	a := &app{}
	var text strings.Builder
	for _, cmd := range a.root().Commands() {
		if cmd.Name() == "cluster" || cmd.Name() == "completion" || cmd.Name() == "help" {
			continue
		}
		if !strings.Contains(cmd.Example, "dactylctl ") {
			t.Errorf("%s has no example", cmd.Name())
		}
		text.WriteString(session(t, cmd.Name(), "--help") + "\n")
		for _, sub := range cmd.Commands() {
			text.WriteString(session(t, cmd.Name(), sub.Name(), "--help") + "\n")
		}
	}
	kittest.Golden(t, "help.txt", []byte(text.String()))
}

// TestNoHome: without a home of one's own nothing is written, least of all where every user's client reads.
func TestNoHome(t *testing.T) {
	home(t)
	leave := enter(t)
	defer leave()
	other := &clientconfig.Config{Context: "demo", Contexts: map[string]*clientconfig.Context{"demo": {Endpoints: []string{"10.5.0.2"}}}}
	if err := other.Write("talosconfig"); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, dir := range []string{"", "relative"} {
		t.Setenv("HOME", dir)
		for _, line := range []string{"config merge talosconfig", "config add demo", "config node 10.5.0.2", "config endpoint 10.5.0.2", "config remove demo -y"} {
			text.WriteString("$ HOME=" + dir + session(t, strings.Fields(line)...)[1:] + "\n")
		}
	}
	leave()
	kittest.Golden(t, "no-home.txt", []byte(text.String()))
}
