package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// rotations in a row: two in CI, more by DACTYL_ROTATIONS.
func rotations() int {
	if n, err := strconv.Atoi(os.Getenv("DACTYL_ROTATIONS")); err == nil {
		return n
	}

	return 2
}

// adminFile is the client configuration that all tests use. A rotation writes its context into it.
func adminFile() string { return filepath.Join(os.Getenv("HOME"), ".dactyl", "config") }

func rotateArgs(output string) []string {
	return []string{
		"-n", controlPlanes[0], "rotate-ca", "--dry-run=false", "--kubernetes=false", "-o", output,
		"--control-plane-nodes", strings.Join(controlPlanes, ","), "--worker-nodes", worker,
	}
}

// authorities are what a node issues with and what it accepts besides, as its configuration says.
func authorities(t *testing.T, node string) (issuing string, accepted int) {
	t.Helper()

	loaded, err := config.Load([]byte(storedConfig(t, node)))
	if err != nil {
		t.Fatal(err)
	}

	return string(loaded.Machine().CA.Crt), len(loaded.Machine().AcceptedCAs)
}

// rotated is what a rotation has to leave: one new authority everywhere, and a client configuration for it alone.
func rotated(t *testing.T, before, oldFile string) {
	t.Helper()

	after, _ := authorities(t, controlPlanes[0])
	if after == before {
		t.Error("the CA is the old one")
	}

	for _, node := range nodes() {
		if issuing, accepted := authorities(t, node); issuing != after || accepted != 0 {
			t.Errorf("%s issues with another CA than %s, or accepts %d more", node, controlPlanes[0], accepted)
		}
	}

	if r := outside.Dactylctl(t.Context(), "--talosconfig", oldFile, "-n", controlPlanes[0], "version"); r.Err == nil {
		t.Errorf("the old client configuration is let in: %s", r)
	}

	for _, endpoint := range controlPlanes {
		ctl(t, "-e", endpoint, "-n", strings.Join(nodes(), ","), "version")
	}
}

// keepOld puts the client configuration of the moment aside.
func keepOld(t *testing.T) string {
	t.Helper()

	data, err := os.ReadFile(adminFile())
	if err != nil {
		t.Fatal(err)
	}

	file := filepath.Join(t.TempDir(), "old")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}

	return file
}

// TestRotateCA replaces the CA of the OS API under calls of a client that has the old and the new certificate at hand: none fails.
// etcd's CA is another one, and nothing of it changes.
func TestRotateCA(t *testing.T) {
	etcd := ctl(t, "-n", controlPlanes[0], "read", "/system/secrets/etcd/ca.crt")

	dry := ctl(t, "-n", controlPlanes[0], "rotate-ca")
	for _, want := range []string{`dry-run mode true\.\.\.`, `  - control plane nodes: \["10\.77\.0\.2" "10\.77\.0\.3" "10\.77\.0\.4"\]\n  - worker nodes: \["10\.77\.0\.5"\]`, `no Kubernetes on this node yet`} {
		if !regexp.MustCompile(want).MatchString(dry) {
			t.Errorf("a dry run does not say %q:\n%s", want, dry)
		}
	}

	for round := range rotations() {
		before, _ := authorities(t, controlPlanes[0])
		stolen := steal(t)
		old := keepOld(t)
		loads := map[string]*load{
			"local":                             startHands(t, controlPlanes[0], controlPlanes[0]),
			"forwarded to a control plane":      startHands(t, controlPlanes[1], controlPlanes[2]),
			"forwarded to the worker":           startHands(t, controlPlanes[2], worker),
			"local, on the last control plane":  startHands(t, controlPlanes[2], controlPlanes[2]),
			"forwarded to the first of the row": startHands(t, controlPlanes[1], controlPlanes[0]),
		}

		awaitCalls(t, loads)

		start := time.Now()
		out := ctl(t, rotateArgs(adminFile())...)
		took := time.Since(start)

		awaitCalls(t, loads)

		for name, l := range loads {
			l.stop()

			if l.failed.Load() > 0 {
				t.Errorf("round %d, %s: %d of %d calls failed: %v", round, name, l.failed.Load(), l.calls.Load(), l.errors)
			}

			t.Logf("round %d, %s: %d calls, %d failed, slowest %s", round, name, l.calls.Load(), l.failed.Load(), time.Duration(l.slowest.Load()).Round(time.Millisecond))
		}

		t.Logf("round %d: the rotation took %s", round, took.Round(time.Millisecond))
		checkWords(t, out)
		rotated(t, before, old)
		stolen()
	}

	if now := ctl(t, "-n", controlPlanes[0], "read", "/system/secrets/etcd/ca.crt"); now != etcd {
		t.Error("etcd has another CA")
	}

	ctl(t, "-n", controlPlanes[0], "etcd", "members")

	if shown := ctl(t, "cluster", "show", "--name", clusterName); strings.Count(shown, "Running OK") < 4*9 {
		t.Errorf("the local cluster is not seen with the new client configuration:\n%s", shown)
	}

	afterRestart(t)
}

// awaitCalls waits until each load has made as many calls more as it makes in two seconds.
func awaitCalls(t *testing.T, loads map[string]*load) {
	t.Helper()

	goals := map[*load]int64{}
	for _, l := range loads {
		goals[l] = l.calls.Load() + 2*handsPerSecond
	}

	for l, goal := range goals {
		kittest.Await(t, time.Minute, "more calls", func() bool { return l.calls.Load() >= goal })
	}
}

// steal takes the key of the CA; the returned function shows what it is worth after a rotation: nothing.
func steal(t *testing.T) func() {
	t.Helper()

	loaded, err := config.Load([]byte(storedConfig(t, controlPlanes[0])))
	if err != nil {
		t.Fatal(err)
	}

	return func() {
		thief := &generate.Bundle{Certs: generate.Certs{OS: loaded.Machine().CA}}

		pair, err := thief.ClientPair([]string{"os:admin"}, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}

		issuing, _ := authorities(t, controlPlanes[0])
		c := &twoCAs{t: t, admin: pair}
		file := c.file("", []byte(issuing))

		for _, c.endpoint = range controlPlanes {
			if _, err := machine.NewMachineServiceClient(c.dial(file)).Version(t.Context(), &emptypb.Empty{}); !refused(err) {
				t.Errorf("%s lets in what the old CA signs: %v", c.endpoint, err)
			}
		}
	}
}

// afterRestart: what a node learnt in a rotation it knows after a restart, and a worker gets its certificate from scratch.
func afterRestart(t *testing.T) {
	t.Helper()

	for _, node := range []string{worker, controlPlanes[1]} {
		boot := bootID(t, node)
		ctl(t, "-n", node, "reboot")

		if bootID(t, node) == boot {
			t.Errorf("%s did not restart", node)
		}
	}

	ctl(t, "-n", controlPlanes[0], "health", "--wait-timeout", "2m",
		"--control-plane-nodes", strings.Join(controlPlanes, ","), "--worker-nodes", worker)
}

// guide is what guide 04 prints, with our name; YAML of keys stands for anything.
var guide = regexp.MustCompile(`(?s)^> Starting Dactyl API PKI rotation, dry-run mode false\.\.\.
> Using config context: ".+"
> Using Dactyl API endpoints: \[.+\]
> Cluster topology:
  - control plane nodes: \["10\.77\.0\.2" "10\.77\.0\.3" "10\.77\.0\.4"\]
  - worker nodes: \["10\.77\.0\.5"\]
> Current Dactyl CA:
.+
> New Dactyl CA:
.+
> Generating new talosconfig:
context: .+
> Verifying connectivity with existing PKI:
VERSIONS> Adding new Dactyl CA as accepted\.\.\.
NODES> Verifying connectivity with new client cert, but old server CA:
VERSIONS> Making new Dactyl CA the issuing CA, old Dactyl CA the accepted CA\.\.\.
NODES> Verifying connectivity with new PKI:
VERSIONS> Removing old Dactyl CA from the accepted CAs\.\.\.
NODES> Verifying connectivity with new PKI:
VERSIONS> Writing new talosconfig to ".+"
$`)

var anyVersion = regexp.MustCompile(`\(version v\S+\)`)

func checkWords(t *testing.T, out string) {
	t.Helper()

	var plain, versions strings.Builder
	for _, node := range nodes() {
		fmt.Fprintf(&plain, "  - %s: OK\n", node)
		fmt.Fprintf(&versions, "  - %s: OK (version V)\n", node)
	}

	short := strings.NewReplacer(plain.String(), "NODES", versions.String(), "VERSIONS").Replace(anyVersion.ReplaceAllString(out, "(version V)"))
	if !guide.MatchString(short) {
		t.Errorf("the words are not those of the guide:\n%s", short)
	}
}

// hands are the connections of a client with two certificates: what one is refused with, the other is tried for.
type hands struct {
	endpoint string
	// files are client configurations; the second is not there before the rotation has begun.
	files [2]string
	calls [2]atomic.Pointer[[]func(context.Context) error]
	// good is the hand that was let in last.
	good atomic.Int32
}

// handsPerSecond are the calls of each of five loads.
const handsPerSecond = 20

func startHands(t *testing.T, endpoint, target string) *load {
	t.Helper()

	h := &hands{endpoint: endpoint, files: [2]string{keepOld(t), adminFile() + ".rotating"}}
	calls := make([]func(context.Context) error, len(loadOf(dial(t, endpoint, false))))

	for i := range calls {
		calls[i] = func(ctx context.Context) error {
			first := h.good.Load()

			err := h.call(t, ctx, first, i)
			if !refused(err) {
				return err
			}

			if second := h.call(t, ctx, 1-first, i); second != nil {
				return fmt.Errorf("both certificates: %w; %w", err, second)
			}

			h.good.Store(1 - first)

			return nil
		}
	}

	return startCalls(calls, target, handsPerSecond, nil)
}

// refused tells a certificate that is not accepted, on either side, from a call that failed.
func refused(err error) bool {
	code := status.Code(err)

	return code == codes.Unauthenticated || code == codes.Unavailable && strings.Contains(err.Error(), "tls: ")
}

func (h *hands) call(t *testing.T, ctx context.Context, hand int32, i int) error {
	calls := h.calls[hand].Load()
	if calls == nil {
		file, err := clientconfig.Read(h.files[hand])
		if err == nil && len(file.Contexts) == 0 {
			file, err = clientconfig.Read(adminFile()) // the rotation is done
		}

		if err != nil {
			return err
		}

		current, err := file.Current("")
		if err != nil {
			return err
		}

		config, err := current.TLS()
		if err != nil {
			return err
		}

		conn, err := grpc.NewClient(h.endpoint+":50000", grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithDisableRetry(),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: callDeadline}))
		if err != nil {
			return err
		}

		t.Cleanup(func() { conn.Close() })

		made := loadOf(conn)
		h.calls[hand].CompareAndSwap(nil, &made)
		calls = h.calls[hand].Load()
	}

	return (*calls)[i](ctx)
}

// TestRotateCAKilled kills the client in each phase; the same command again, with the old client configuration, ends what it began.
func TestRotateCAKilled(t *testing.T) {
	for _, phase := range []string{
		"> Adding new", "> Verifying connectivity with new client cert", "> Making new", "> Verifying connectivity with new PKI",
		"> Removing old", "> Verifying connectivity with new PKI", "> Writing new",
	} {
		t.Run(phase, func(t *testing.T) {
			before, _ := authorities(t, controlPlanes[0])
			old := keepOld(t)
			nth := 1

			if strings.HasSuffix(t.Name(), "#01") { // the second of that title
				nth = 2
			}

			killIn(t, phase, nth)

			out := ctl(t, rotateArgs(adminFile())...)
			if !strings.Contains(out, "> Writing new talosconfig") {
				t.Errorf("the second run says:\n%s", out)
			}

			rotated(t, before, old)

			if _, err := os.Stat(adminFile() + ".rotating"); err == nil {
				t.Error("the kept client configuration is still there")
			}
		})
	}
}

// killIn starts a rotation and kills the client when it has begun the phase and done the first node of it.
func killIn(t *testing.T, phase string, nth int) {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), outside.Repository("_out", "dactylctl"), rotateArgs(adminFile())...)

	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	var lines []string

	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		lines = append(lines, scanner.Text())

		if nth > 0 && strings.HasPrefix(scanner.Text(), phase) {
			nth--
		} else if nth == 0 && strings.HasPrefix(scanner.Text(), "  - ") {
			break
		}

		if nth == 0 && strings.HasPrefix(phase, "> Writing") {
			break
		}
	}

	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()         // it was killed

	// What comes between this line and the kill is not in the test's hand; TestKilledAnywhere kills before each change.
	t.Logf("after %q: %s", lines[len(lines)-1], cmd.ProcessState)

	if nth != 0 {
		t.Fatalf("the client was not in %q:\n%s", phase, strings.Join(lines, "\n"))
	}
}

// TestRotateCAWithANodeDown: before the first change, and with the name of the node.
func TestRotateCAWithANodeDown(t *testing.T) {
	before, _ := authorities(t, controlPlanes[0])
	silence(t, worker)

	r := outside.Dactylctl(t.Context(), rotateArgs(filepath.Join(t.TempDir(), "talosconfig"))...)
	if r.Err == nil || !strings.Contains(r.Stderr, "nothing was changed") || !strings.Contains(r.Stderr, worker) || strings.Contains(r.Stderr, controlPlanes[1]) {
		t.Errorf("not refused as it should be: %s", r)
	}

	if issuing, accepted := authorities(t, controlPlanes[0]); issuing != before || accepted != 0 {
		t.Error("something was changed")
	}
}

// TestCertificatesFollowTheCA: with the CA every certificate of the OS API is new, on each node, and the resources show it.
func TestCertificatesFollowTheCA(t *testing.T) {
	show := func() map[string]string {
		shown := map[string]string{}

		for _, node := range nodes() {
			for _, typ := range []string{"apicertificates", "trustdcertificates", "osrootsecrets", "etcdsecrets"} {
				if node != worker || !slices.Contains([]string{"trustdcertificates", "etcdsecrets"}, typ) {
					shown[node+" "+typ] = ctl(t, "-n", node, "get", typ, "-o", "jsonpath={.spec}")
				}
			}
		}

		return shown
	}

	old := show()

	ctl(t, rotateArgs(adminFile())...)

	kittest.Await(t, time.Minute, "every certificate but etcd's to be another", func() bool {
		for name, now := range show() {
			if etcd := strings.HasSuffix(name, "etcdsecrets"); etcd != (now == old[name]) {
				return false
			}
		}

		return true
	})
}
