package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

func TestParseFillsEveryField(t *testing.T) {
	got, err := manifest.Parse("gateway.yaml", []byte(`name: gateway
command: [/usr/bin/gateway, --log-level, info]
needs: [trustd]
user: 50
capabilities: {CAP_NET_ADMIN: sets addresses, chown: gives files away, net_admin: again}
owns: [/var/lib/x]
adopts: [/var/lib/y]
reads: [/usr]
writes: [/etc]
memory: 64Mi
restart: once
aliases: [apid]
listen: ["tcp-50000"]
conditions: [configuration, "service:etcd", "path:/run/x"]
env: {A: b}
stop: 2s
hang: never
defines: [kubelet, ext-*]
grants: {CAP_NET_ADMIN: their networks}
keep: [watchdog]
`))
	if err != nil {
		t.Fatal(err)
	}

	want := manifest.Manifest{
		Name: "gateway", Command: []string{"/usr/bin/gateway", "--log-level", "info"}, Needs: []string{"trustd"}, User: 50,
		Capabilities: []string{"chown", "net_admin"}, Memory: 64 << 20, Restart: manifest.RestartOnce, Aliases: []string{"apid"},
		Listen: []string{"tcp-50000"}, Env: map[string]string{"A": "b"}, StopTimeout: 2 * time.Second,
		Conditions: []manifest.Condition{manifest.Configuration, "service:etcd", "path:/run/x"}, Kill: manifest.KillCgroup,
		Defines: []string{"kubelet", "ext-*"}, Grants: []string{"net_admin"}, Keep: []string{"watchdog"},
		Owns: []string{"/var/lib/x"}, Adopts: []string{"/var/lib/y"}, Reads: []string{"/usr"}, Writes: []string{"/etc"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestParseAProgramThatIsNotOurs reads what containerd's manifest will say.
func TestParseAProgramThatIsNotOurs(t *testing.T) {
	got, err := manifest.Parse("containerd.yaml", []byte(`name: containerd
command: [/usr/bin/containerd]
socket: none
ready: {grpc: /run/containerd/containerd.sock}
kill: process
delegate: true
no_new_privs: false
capabilities: {all: what containers may have it hands on}
`))
	if err != nil {
		t.Fatal(err)
	}

	probe := manifest.Probe{GRPC: "/run/containerd/containerd.sock"}
	want := manifest.Manifest{
		Name: "containerd", Command: []string{"/usr/bin/containerd"}, NoSocket: true, Ready: probe, Health: probe,
		Kill: manifest.KillProcess, Delegate: true, NewPrivileges: true, Capabilities: []string{"all"},
		Restart: manifest.RestartAlways, StopTimeout: manifest.DefaultStopTimeout, Hang: manifest.DefaultHang,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	if all := got.CapabilityNumbers(); len(all) != unix.CAP_LAST_CAP+1 {
		t.Errorf("all are %d", len(all))
	}
}

func TestCovers(t *testing.T) {
	patterns := []string{"kubelet", "ext-*"}

	for name, want := range map[string]bool{"kubelet": true, "kubelet2": false, "ext-a": true, "ext-": true, "ext": false, "": false} {
		if manifest.Covers(patterns, name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const head = "name: x\ncommand: [/bin/x]\n"

	for name, tc := range map[string]struct{ text, want string }{
		"unknown key":   {head + "comand: y\n", `x.yaml:3: unknown key "comand" (known: name,`},
		"key twice":     {head + "user: 1\nuser: 2\n", `x.yaml:4: key "user" is already on line 3`},
		"wrong type":    {head + "user: many\n", "line 3"},
		"not a mapping": {"- a\n", "x.yaml:1: a manifest is one mapping"},
		"empty":         {"", "x.yaml:1: a manifest is one mapping"},
		"not YAML":      {"\t{", "x.yaml: not YAML"},
		"bad restart":   {head + "restart: sometimes\n", `x.yaml:3: restart: "sometimes" is none of always, once, never`},
		"bad condition": {head + "conditions: [later]\n", `x.yaml:3: conditions: "later" is none of configuration,`},
		"bad path":      {head + "conditions: [\"path:x\"]\n", `x.yaml:3: conditions: "path:x" is none of`},
		"bad kill":      {head + "kill: all\n", `x.yaml:3: kill: "all" is none of cgroup, group, process`},
		"bad hang":      {head + "hang: 0s\n", `x.yaml:3: hang: "0s" is neither never nor a duration such as 60s`},
		"bad socket":    {head + "socket: some\n", `x.yaml:3: socket: "some" is not none`},
		"own probe":     {head + "ready: {socket: /run/x}\n", `x.yaml:3: ready: a daemon with a socket of ours says it itself`},
		"bad probe":     {head + "socket: none\nready: {sockets: /run/x}\n", `x.yaml:4: unknown key "sockets" (known: socket,`},
		"two probes":    {head + "socket: none\nready: {socket: /x, exec: [/x]}\n", `x.yaml:4: ready: one of socket,`},
		"relative":      {head + "socket: none\nhealth: {exec: [x]}\n", `x.yaml:4: health: exec: "x" is no absolute path`},
		"elsewhere":     {head + "socket: none\nhealth: {http: \"http://10.0.0.1:80/\"}\n", `x.yaml:4: health: http: "http://10.0.0.1:80/" is not a URL such as`},
		"no port":       {head + "socket: none\nhealth: {http: \"http://127.0.0.1/\"}\n", `is not a URL such as`},
		"none keeps":    {head + "socket: none\nkeep: [x]\n", `x.yaml:3: socket: who has no socket of ours`},
		"all defined":   {head + "defines: [\"*\"]\n", `x.yaml:3: defines: "*" is neither a name nor`},
		"shared limit":  {head + "memory: 1Mi\ndelegate: true\n", `x.yaml:3: memory: a limit would hold for all that is delegated`},
		"long name":     {head + "needs: [" + strings.Repeat("x", 65) + "]\n", `is not a name of lower case letters, digits and dashes, at most 64`},
		"bad memory":    {head + "memory: 64Foo\n", `x.yaml:3: memory: "64Foo" is not a size such as 64Mi`},
		"bad listener":  {head + "listen: [\"udp-1\"]\n", `x.yaml:3: listen: "udp-1" is not tcp-PORT`},
		"bad cap":       {head + "capabilities: {FLY: away}\n", `x.yaml:3: capabilities: "FLY" is no Linux capability`},
		"no reason":     {head + "capabilities:\n  net_admin:\n", "line 4: say why the daemon needs the capability net_admin: {net_admin: reason}"},
		"no reasons":    {head + "capabilities: [chown]\n", "line 3: capabilities are written with their reasons"},
		"bad grant":     {head + "defines: [a]\ngrants: {FLY: away}\n", `x.yaml:4: grants: "FLY" is no Linux capability`},
		"idle grant":    {head + "grants: {chown: files}\n", "x.yaml:3: grants: they are for units that the daemon defines"},
		"on machines":   {head + "machine: {capabilities: {sys_module: \" \"}}\n", "line 3: say why the daemon needs the capability sys_module"},
		"owns all":      {head + "owns: [/]\n", "x.yaml:3: owns: a daemon cannot own the root"},
		"not absolute":  {head + "reads: [etc]\n", `x.yaml:3: reads: "etc" is not an absolute path`},
		"up and down":   {head + "writes: [/var/../etc]\n", `x.yaml:3: writes: "/var/../etc" is not an absolute path`},
		"adopts alone":  {head + "adopts: [/etc/x]\n", "x.yaml:3: adopts: the daemon owns no directory for it"},
		"two users":     {head + "user: 7\nroot: why not\n", "x.yaml:4: root: the daemon has user 7"},
		"bad stop":      {head + "stop: soon\n", `x.yaml:3: stop: "soon" is not a duration`},
		"needs itself":  {head + "needs: [x]\n", "x.yaml:3: needs: x cannot need itself"},
		"no command":    {"name: x\n", "x.yaml:1: command: the program's absolute path is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := manifest.Parse("x.yaml", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestCapabilityNumbers(t *testing.T) {
	for name, want := range map[string]uintptr{
		"chown": unix.CAP_CHOWN, "net_admin": unix.CAP_NET_ADMIN, "sys_admin": unix.CAP_SYS_ADMIN, "syslog": unix.CAP_SYSLOG,
		"checkpoint_restore": unix.CAP_CHECKPOINT_RESTORE,
	} {
		if got, _ := manifest.Capability(name); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
}

func TestOrder(t *testing.T) {
	named := func(name string, needs ...string) manifest.Manifest {
		return manifest.Manifest{Name: name, Needs: needs}
	}

	for name, tc := range map[string]struct {
		order, err string
		in         []manifest.Manifest
	}{
		"needs first": {in: []manifest.Manifest{named("gateway", "trustd"), named("trustd", "configd"), named("configd"), named("hostd")},
			order: "configd hostd trustd gateway"},
		"missing": {in: []manifest.Manifest{named("a", "ghost")}, order: "a", err: `a needs "ghost", which no manifest starts`},
		"circle": {in: []manifest.Manifest{named("a", "b"), named("b", "a"), named("c")}, order: "c a b",
			err: "a, b need each other in a circle"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := manifest.Order(tc.in)

			var names []string
			for _, m := range got {
				names = append(names, m.Name)
			}

			if order := strings.Join(names, " "); order != tc.order {
				t.Errorf("order %q, want %q", order, tc.order)
			}

			if (err == nil) != (tc.err == "") || (err != nil && err.Error() != tc.err) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
		})
	}
}

func TestLoadDirKeepsTheGoodOnes(t *testing.T) {
	dir := t.TempDir()

	for name, text := range map[string]string{
		"a.yaml": "name: a\ncommand: [/bin/a]\naliases: [b]\n", "b.yaml": "name: b\ncommand: [/bin/b]\n",
		"c.yaml": "nam: c\n", "d.yaml": "name: e\ncommand: [/bin/e]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	got, err := manifest.LoadDir(dir)
	if len(got) != 2 || got[0].Name != "a" || got[1].Name != "b" {
		t.Errorf("loaded %+v", got)
	}

	for _, want := range []string{`a and b both claim "b"`, `c.yaml:1: unknown key "nam"`, `d.yaml: name is "e"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

// TestShippedManifests holds deploy/services to the same rules as the node does.
func TestShippedManifests(t *testing.T) {
	manifests, err := manifest.LoadDir("../../../../deploy/services")
	if err != nil {
		t.Fatal(err)
	}

	if _, err := manifest.Order(manifests); err != nil {
		t.Error(err)
	}

	users := map[uint32]string{}

	for _, m := range manifests {
		if (m.User == 0) == (m.Root == "") {
			t.Errorf("%s: a daemon has a user of its own, or says why it is root", m.Name)
		}

		if other := users[m.User]; m.User != 0 && other != "" {
			t.Errorf("%s and %s are both user %d", other, m.Name, m.User)
		}

		users[m.User] = m.Name
	}
}

func TestMachinesAndSharedKernels(t *testing.T) {
	parse := func(name, more string) manifest.Manifest {
		t.Helper()

		m, err := manifest.Parse(name+".yaml", []byte("name: "+name+"\ncommand: [/usr/bin/"+name+"]\n"+more))
		if err != nil {
			t.Fatal(err)
		}

		return m
	}

	list := []manifest.Manifest{
		parse("configd", "needs: [diskd]\nenv: {A: \"1\"}\nmachine: {env: {B: \"2\"}}\n"),
		parse("diskd", "where: machine\nmachine: {needs: [hostd], after: []}\n"),
		parse("hostd", "capabilities: {chown: x}\nmachine: {capabilities: {CAP_SYS_MODULE: x}}\n"),
	}

	for machine, want := range map[bool]string{
		true: "configd needs [diskd] awaits [diskd] may [] env map[A:1 B:2]\ndiskd needs [hostd] awaits [] may [] env map[]\n" +
			"hostd needs [] awaits [] may [chown sys_module] env map[]\n",
		false: "configd needs [] awaits [] may [] env map[A:1]\nhostd needs [] awaits [] may [chown] env map[]\n",
	} {
		var got strings.Builder
		for _, m := range manifest.For(list, machine) {
			fmt.Fprintf(&got, "%s needs %v awaits %v may %v env %v\n", m.Name, m.Needs, m.Awaits(), m.Capabilities, m.Env)
		}

		if got.String() != want {
			t.Errorf("machine %v:\n%swant\n%s", machine, got.String(), want)
		}
	}

	for _, wrong := range []string{"where: moon\n", "machine: {capability: {chown: x}}\n", "machine: {capabilities: {fly: x}}\n", "machine: {needs: [x]}\n", "machine: {after: [x]}\n"} {
		if _, err := manifest.Parse("x.yaml", []byte("name: x\ncommand: [/x]\n"+wrong)); err == nil || !strings.HasPrefix(err.Error(), "x.yaml:") {
			t.Errorf("%q is accepted: %v", wrong, err)
		}
	}
}
