package gateway_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// curl asks for a node's figures as README does, and gives the code and the body.
func curl(t *testing.T, n *node, authority *fake.Authority, client *fake.Pair) (code, body string) {
	t.Helper()

	dir := t.TempDir()
	files := map[string][]byte{"ca.crt": authority.PEM}
	args := []string{"--silent", "--show-error", "--max-time", "20", "--cacert", filepath.Join(dir, "ca.crt"), "--write-out", "\n%{http_code}"}

	if client != nil {
		files["client.crt"], files["client.key"] = client.Crt, client.Key
		args = append(args, "--cert", filepath.Join(dir, "client.crt"), "--key", filepath.Join(dir, "client.key"))
	}

	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	out, err := exec.CommandContext(t.Context(), "curl", append(args, "https://"+n.metrics.Addr().String()+"/metrics")...).CombinedOutput()
	if err != nil {
		return "", fmt.Sprintf("%v: %s", err, out)
	}

	end := strings.LastIndexByte(string(out), '\n')

	return string(out[end+1:]), string(out[:end])
}

func TestMetricsOfEveryDaemon(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := besideKit(t, authority)
	reader := n.client(t, authority, access.Reader)
	await(t, 10*time.Second, func() error { return version(within(t, time.Second), reader) })

	for _, role := range []string{access.Reader, access.Operator, access.Admin} {
		pair := authority.Client(t, role)

		code, body := curl(t, n, authority, &pair)
		if code != "200" {
			t.Fatalf("%s gets %s: %s", role, code, body)
		}

		for _, want := range []string{
			"# TYPE dactyl_up gauge\n", "\ndactyl_up{daemon=\"init\"} 1\n", "\ndactyl_up{daemon=\"networkd\"} 1\n", "\ndactyl_up{daemon=\"gateway\"} 1\n",
			"# TYPE dactyl_calls_total counter\n", "\ndactyl_calls_total{daemon=\"init\",method=\"/machine.MachineService/Version\",code=\"OK\"} ",
			"\ndactyl_public_calls_total{daemon=\"gateway\",method=\"/machine.MachineService/Version\",code=\"OK\"} ",
			"\ndactyl_resources{daemon=\"networkd\",type=\"AddressStatuses.net.talos.dev\"} 135\n",
			"\nprocess_cpu_seconds_total{daemon=\"networkd\"} ", "\ngo_goroutines{daemon=\"gateway\"} ",
		} {
			if !strings.Contains("\n"+body, want) {
				t.Errorf("%s: %q is not in\n%s", role, want, body)
			}
		}

		checkFormat(t, body)
	}
}

// checkFormat fails on a family that is told twice, or whose samples are not together, which Prometheus refuses.
func checkFormat(t *testing.T, body string) {
	t.Helper()

	seen, current := map[string]bool{}, ""

	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			current, _, _ = strings.Cut(rest, " ")

			if seen[current] {
				t.Errorf("%s is told twice", current)
			}

			seen[current] = true

			continue
		}

		if name := strings.FieldsFunc(strings.TrimPrefix(line, "# TYPE "), func(r rune) bool { return r == '{' || r == ' ' }); name[0] != current {
			t.Errorf("%q stands among the samples of %s", line, current)
		}
	}
}

func TestMetricsAreNotForEverybody(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := besideKit(t, authority)
	reader := n.client(t, authority, access.Reader)
	await(t, 10*time.Second, func() error { return version(within(t, time.Second), reader) })

	for _, role := range []string{access.EtcdBackup, access.Impersonator, "os:unknown"} {
		pair := authority.Client(t, role)
		if code, body := curl(t, n, authority, &pair); code != "403" || strings.Contains(body, "dactyl_up") {
			t.Errorf("%s gets %s: %s", role, code, body)
		}
	}

	if code, body := curl(t, n, authority, nil); code != "" || !strings.Contains(body, "certificate required") {
		t.Errorf("nobody gets %s: %s", code, body)
	}

	stranger := fake.NewAuthority(t).Client(t, access.Admin)
	if code, body := curl(t, n, authority, &stranger); code != "" {
		t.Errorf("an admin of another cluster gets %s: %s", code, body)
	}

	// The figures are not part of the public API, and not of what other daemons may ask.
	conn := n.client(t, authority, access.Admin)
	if err := conn.Invoke(within(t, 5*time.Second), "/dactyl.kit.v1.MetricsService/Metrics", &emptypb.Empty{}, &emptypb.Empty{}); err == nil {
		t.Error("the public endpoint tells metrics")
	}
}
