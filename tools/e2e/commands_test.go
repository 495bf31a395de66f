package e2e

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// step is one command of the client, run in the scenario's directory: $CP is a control plane, $WORKER the worker.
type step struct {
	run   string
	want  string // regular expression for the standard output, or for the error when it is refused; "": any
	fails bool
}

// TestEveryCommand runs the commands that no other scenario runs, in the order in which a person would. That none is
// forgotten is for TestEveryCommandHasAScenario in tools/dactylctl to say.
func TestEveryCommand(t *testing.T) {
	dir := t.TempDir()

	for _, scenario := range []struct {
		name  string
		steps []step
	}{
		{"look at a node", []step{
			{run: "-n $CP health --wait-timeout 2m", want: `(?m)^waiting for all nodes to be ready and their services healthy, etcd among them: OK$`},
			{run: "-n $WORKER health --worker-nodes $WORKER --control-plane-nodes $CP,10.77.0.3,10.77.0.4", want: `(?m)^waiting for all nodes to answer: OK$`},
			{run: "-n $CP health --worker-nodes 10.77.0.99 --wait-timeout 2s", want: `10\.77\.0\.99 is no member`, fails: true},
			{run: "-n $CP health --server=false --wait-timeout 2m", want: `(?m)^waiting for etcd to be healthy: OK$`},
			{run: "-n $CP version --short", want: `(?m)^\t\$CP: v1\.8\.4\+dactyl`},
			{run: "-n $CP read /etc/os-release", want: `(?m)^VERSION_ID=v1\.8\.4-dactyl`},
			{run: "-n $CP list /etc", want: `(?m)^\S+ +os-release$`},
			{run: "-n $CP usage /etc", want: `(?m)^\$CP +\d+ +\.$`},
			{run: "-n $CP,$WORKER get members", want: `(?m)^\$WORKER +cluster +Member +e2e-worker-1 +\d+ +e2e-worker-1 +worker +Dactyl`},
			{run: "-n $CP get hostname -o jsonpath={.spec.hostname}", want: `^e2e-controlplane-1\n`},
			{run: "-n $CP get hostname -o yaml", want: `(?m)^    hostname: e2e-controlplane-1$`},
			{run: "-n $CP,nosuch get hostname", want: `nosuch: no member of the cluster`, fails: true},
			{run: "-n $CP service", want: `(?m)^\$CP +networkd +Running +OK `},
			{run: "-n $CP service etcdd", want: `(?m)^HEALTH +OK$`},
			{run: "-n $CP mounts", want: `(?m)^NODE +FILESYSTEM +SIZE\(GB\) +USED\(GB\) +AVAILABLE\(GB\) +PERCENT USED +MOUNTED ON$`},
			{run: "-n $CP logs configd --tail 1", want: `level=|time=`},
			{run: "-n $CP copy /etc etc"},
			{run: "-n $CP logs", want: `(?m)^\$CP +networkd$`},
			{run: "-n $CP logs nosuch", want: `\$CP: .*log "nosuch" was not registered\n`, fails: true},
			{run: "-n 10.77.0.99 get links", want: `the gateway cannot reach 10\.77\.0\.99`, fails: true},
			{run: "-n nosuch read /etc/hosts", want: `nosuch: no member of the cluster`, fails: true},
			{run: "-n $CP inspect dependencies", want: `"configd" -> "networkd\.[^"]+" \[label="MachineConfigs"\]`},
			{run: "-n $CP inspect dependencies --with-resources", want: `(?m)^digraph "\$CP" \{$`},
			{run: "-n $WORKER restart timed", want: `^\$WORKER: timed restarted\n`},
			{run: "-n $WORKER restart nosuch", want: `\$WORKER: no service "nosuch"`, fails: true},
			{run: "-n $CP netstat -lpt", want: `(?m)^\$CP +tcp6? .*[:\]]50000 .* LISTEN +\d+/\w+$`},
			{run: "-n $CP netstat -aopx", want: `(?m)^NODE +Proto +Recv-Q +Send-Q +Local Address +Foreign Address +State +Uid +Inode +PID/Program name +Timer$`},
			{run: "-n $CP pcap -i nosuch0 --duration 1s", want: `^error: \$CP: no link "nosuch0"`, fails: true},
			{run: "-n $CP pcap -i eth0 --duration 2s", want: `(?m)^\S+ +\d+ \$CP:50000 > \S+: TCP \[`},
			{run: "-n $CP disks", want: `(?m)^NODE +DEV +MODEL +SERIAL +TYPE +UUID +WWID +MODALIAS +NAME +SIZE +BUS_PATH `},
			{run: "-n $CP dmesg", want: `(?m)^kern: +\w+: \[20\d\d-\d\d-\d\dT`},
			{run: "-n $CP memory", want: `(?m)^\$CP +\d+ +\d+ +\d+ `},
			{run: "-n $CP processes", want: `(?m)^\$CP +1 +[SR] .*init`},
			{run: "-n $CP stats", want: `(?ms)^\S+ +system +apid +\d.* system +etcd +\d.* system +machined +\d.* system +networkd +\d`},
			{run: "-n $CP containers", want: `(?ms)^\S+ +system +apid +\d+ +RUNNING.* system +machined +1 +RUNNING`},
			{run: "-n $CP containers -k", want: `\ANODE +NAMESPACE +ID +IMAGE +PID +STATUS\s*\z`},
			{run: "-n $CP stats -k", want: `\ANODE +NAMESPACE +ID +MEMORY\(MB\) +CPU\s*\z`},
			{run: "-n $CP get hostdnsconfig", want: `(?m)^\S+ +network +HostDNSConfig +config +1 +false`},
			{run: "-n $CP get securitystate", want: `(?m)^\S+ +runtime +SecurityState +securitystate +1 +false`},
			{run: "-n $CP get affiliates --namespace cluster-raw", want: `(?m)^\S+ +cluster-raw +Affiliate +service/\S+ `},
			{run: "-n $CP time --check 127.0.0.1", want: `time server 127\.0\.0\.1`, fails: true}, // none listens there
			{run: "cluster show --name " + clusterName, want: `\$WORKER`},
		}},
		{"keys and configurations", []step{
			{run: "gen ca --organization scenario", want: `(?m)^generated scenario\.crt$`},
			{run: "gen key --name admin", want: `(?m)^generated admin\.key$`},
			{run: "gen csr --key admin.key --roles os:reader", want: `(?m)^generated admin\.csr$`},
			{run: "gen crt --ca scenario --csr admin.csr --name admin", want: `(?m)^generated admin\.crt$`},
			{run: "gen keypair --organization pair --ip $CP", want: `(?m)^generated pair\.key$`},
			{run: "gen secrets -o secrets.yaml", want: `(?m)^generated secrets\.yaml$`},
			{run: "gen config scenario https://$CP:6443 --with-secrets secrets.yaml -o configs", want: `(?m)^generated configs/controlplane\.yaml$`},
			{run: "machineconfig gen scenario https://$CP:6443 -t worker -o -", want: `(?m)^version: v1alpha1`},
			{run: "validate -c configs/worker.yaml -m container", want: `valid`},
			{run: "gen config scenario https://$CP:6443 --with-secrets secrets.yaml --talos-version v1.6 -o old"},
			{run: "validate -c old/worker.yaml -m container", want: `hostDNS\.enabled: missing`, fails: true}, // which v1.6 did not know
			{run: "gen config scenario https://$CP:99999 -o -", want: `"99999" is not a port`, fails: true},
		}},
		{"contexts of the client", []step{
			{run: "-n $CP config new reader.conf --roles os:reader --crt-ttl 1h", want: `generated reader\.conf`},
			{run: "--talosconfig reader.conf config endpoint https://$CP", want: `not a URL: \$CP`, fails: true},
			{run: "--talosconfig reader.conf config endpoint $CP"},
			{run: "--talosconfig reader.conf config node $CP"},
			{run: "--talosconfig reader.conf config info", want: `(?s)Nodes: +\$CP\n.*Endpoints: +\$CP\n.*Roles: +os:reader\n`},
			{run: "--talosconfig reader.conf version", want: `\$CP`},
			{run: "--talosconfig reader.conf reboot", want: `^error: \$CP: .*not authorized`, fails: true}, // and no word of rebooting
			{run: "--talosconfig reader.conf config add other --ca scenario.crt --crt admin.crt --key admin.key"},
			{run: "--talosconfig reader.conf config contexts", want: `(?m)^\* +other`},
			{run: "--talosconfig reader.conf config context other"},
			{run: "--talosconfig merged.conf config merge reader.conf"},
			{run: "--talosconfig merged.conf config remove other --noconfirm"},
		}},
		{"a configuration edited", []step{
			{run: "-n $WORKER edit machineconfig --dry-run", want: `^cancelled: nothing was changed`},
			{run: "-n $WORKER get mc -o jsonpath={.spec.machine.type}", want: `^worker`},
			{run: `-n $WORKER patch mc -p {"machine":{"env":{"A":"b"}}} --dry-run`, want: `warning: \$WORKER: accepted, without effect until .*: machine\.env`},
			{run: `-n $WORKER patch mc -p {"machine":{"sysctls":{"net.core.somaxconn":"5000"}}} -m staged`},
			{run: `-n $WORKER patch mc -p [] -m no-reboot`, want: `warning: \$WORKER: .*what was staged is lost`},
		}},
		{"etcd", []step{
			{run: "-n $CP etcd alarm list", want: `(?m)^NODE +MEMBER +ALARM$`},
			{run: "-n $CP etcd members", want: `(?m)^\$CP +[0-9a-f]{16} +e2e-controlplane-1 +https://\$CP:2380 +https://\$CP:2379 +false$`},
			{run: "-n $CP etcd status", want: `(?m)^\$CP +[0-9a-f]{16} +\d+\.?\d* .B`},
			{run: "-n $CP etcd alarm disarm"},
			{run: "-n $CP etcd defrag"},
			{run: "-n $CP etcd forfeit-leadership"},
			{run: "-n $CP etcd snapshot db.snapshot", want: `(?m)^etcd snapshot saved to "db.snapshot" \(\d+ bytes\)\nsnapshot info: hash [0-9a-f]{8}, revision \d+, total keys \d+, total size \d+$`},

			{run: "-n $CP bootstrap --recover-from db.snapshot", want: `etcd data directory is not empty`, fails: true},
			{run: "-n $CP etcd remove-member 1", want: `not found`, fails: true},
			{run: "-n $WORKER etcd leave", want: `etcdd`, fails: true},
			{run: "-n $WORKER bootstrap", want: `bootstrap can only be performed on a control plane node`, fails: true},
			{run: "-n $WORKER bootstrap --recover-from db.snapshot", want: `bootstrap can only be performed on a control plane node`, fails: true},
			{run: "-n $CP etcd rejoin", want: `(?m)^\$CP left etcd, its data is removed\n\$CP is member [0-9a-f]{16} of etcd$`},
		}},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			for _, s := range scenario.steps {
				s.check(t, dir)
			}
		})
	}

	for _, name := range []string{"etc/os-release", "db.snapshot", "configs/worker.yaml", "merged.conf"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s was not written: %v", name, err)
		}
	}
}

var places = strings.NewReplacer("$CP", controlPlanes[0], "$WORKER", worker)

func (s step) check(t *testing.T, dir string) {
	t.Helper()

	// What hangs fails, and the cluster is ended by the suite instead of left behind.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	client, begin := outside.Repository("_out", "dactylctl"), time.Now()
	r := outside.Run(ctx, "env", append([]string{"-C", dir, "EDITOR=true", client}, strings.Fields(places.Replace(s.run))...)...)
	text := r.Stdout + r.Stderr
	t.Logf("%s\nin %s", r, time.Since(begin).Round(time.Millisecond))

	if s.fails {
		text = r.Stderr
	}

	want := places.Replace(strings.ReplaceAll(s.want, `\$`, `$`))
	if (r.Err != nil) != s.fails || !regexp.MustCompile(want).MatchString(text) {
		t.Errorf("%s\nwant %q", r, want)
	}
}

// TestEvents: the stream has no end; its first event is enough.
func TestEvents(t *testing.T) {
	line := firstLine(t, "-n", worker, "events", "--tail", "5")
	if !strings.HasPrefix(line, "NODE") {
		t.Errorf("events begin with %q", line)
	}
}

func firstLine(t *testing.T, args ...string) string {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), outside.Repository("_out", "dactylctl"), args...)

	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	defer cmd.Wait()         //nolint:errcheck // it was killed
	defer cmd.Process.Kill() //nolint:errcheck // it may have ended

	limit := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()

	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("no line from %v: %v", args, err)
	}

	return line
}
