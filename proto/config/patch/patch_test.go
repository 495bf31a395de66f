package patch_test

import (
	"os"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/diff"
	"github.com/dactyl-os/dactyl/proto/config/patch"
)

const base = `version: v1alpha1
machine:
    type: worker
    # comments stay
    network:
        hostname: a
        interfaces:
            - interface: eth0
              dhcp: true
              addresses:
                - 10.0.0.1/24
              vlans:
                - vlanId: 5
                  mtu: 1400
            - deviceSelector:
                driver: virtio
                busPath: 0*
              mtu: 1500
        nameservers: [1.1.1.1]
    sysctls: {a: "1", b: "2"}
cluster:
    network:
        podSubnets:
            - 10.244.0.0/16
    apiServer:
        admissionControl:
            - name: PodSecurity
              configuration:
                defaults: {enforce: baseline, audit: restricted}
        auditPolicy:
            kind: Policy
            rules: [{level: Metadata}]
`

func apply(t *testing.T, data string, patches ...string) (string, error) {
	t.Helper()

	loaded, err := patch.LoadAll(patches)
	if err != nil {
		return "", err
	}

	out, err := patch.Apply([]byte(data), loaded...)

	return string(out), err
}

// section returns the lines of the result that the base does not have and, after a dash, those it lost.
func section(before, after string) string {
	var b strings.Builder

	for _, line := range missing(after, before) {
		b.WriteString("+" + line + "\n")
	}

	for _, line := range missing(before, after) {
		b.WriteString("-" + line + "\n")
	}

	return b.String()
}

func missing(from, in string) []string {
	counts := map[string]int{}
	for _, line := range strings.Split(in, "\n") {
		counts[line]++
	}

	var lines []string

	for _, line := range strings.Split(from, "\n") {
		if counts[line]--; counts[line] < 0 {
			lines = append(lines, strings.TrimSpace(line))
		}
	}

	return lines
}

func TestMerge(t *testing.T) {
	// What the encoder does to the base is no part of the cases.
	normal, err := apply(t, base, "machine: {}")
	if err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct{ name, patch, want string }{
		{"scalar", "machine: {network: {hostname: b}}", "+hostname: b\n-hostname: a\n"},
		{"false overrides", "machine: {network: {interfaces: [{interface: eth0, dhcp: false}]}}", "+dhcp: false\n-dhcp: true\n"},
		{"null changes nothing", "machine: {network: {hostname: }}", ""},
		{"interface by name", "machine: {network: {interfaces: [{interface: eth0, addresses: [10.0.0.2/24]}]}}", "+- 10.0.0.2/24\n"},
		{"interface by selector", "machine: {network: {interfaces: [{deviceSelector: {busPath: 0*, driver: virtio}, dhcp: true}]}}", "+dhcp: true\n"},
		{"new interface", "machine: {network: {interfaces: [{interface: lo, addresses: [10.9.0.1/32]}]}}", "+- interface: lo\n+addresses:\n+- 10.9.0.1/32\n"},
		{"vlan by id", "machine: {network: {interfaces: [{interface: eth0, vlans: [{vlanId: 5, mtu: 1300}, {vlanId: 6}]}]}}", "+mtu: 1300\n+- vlanId: 6\n-mtu: 1400\n"},
		{"lists are appended", "machine: {network: {nameservers: [8.8.8.8]}}", "+nameservers:\n+- 1.1.1.1\n+- 8.8.8.8\n-nameservers: [1.1.1.1]\n"},
		{"subnets are replaced", "cluster: {network: {podSubnets: [10.1.0.0/16]}}", "+- 10.1.0.0/16\n-- 10.244.0.0/16\n"},
		{"audit policy is replaced", "cluster: {apiServer: {auditPolicy: {kind: Policy}}}", "-rules: [{level: Metadata}]\n"},
		{"admission by name", "cluster: {apiServer: {admissionControl: [{name: PodSecurity, configuration: {defaults: {enforce: privileged}}}]}}",
			"+defaults:\n+enforce: privileged\n+audit: restricted\n-defaults: {enforce: baseline, audit: restricted}\n"},
		{"delete field", "machine: {network: {hostname: {$patch: delete}}}", "-hostname: a\n"},
		{"delete list", "cluster: {network: {podSubnets: {$patch: delete}}}", "+network: {}\n-network:\n-podSubnets:\n-- 10.244.0.0/16\n"},
		{"delete section", "cluster: {network: {$patch: delete}}", "-network:\n-podSubnets:\n-- 10.244.0.0/16\n"},
		{"delete element", "machine: {network: {interfaces: [{interface: eth0, vlans: [{vlanId: 5, $patch: delete}]}]}}", "+vlans: []\n-vlans:\n-- vlanId: 5\n-mtu: 1400\n"},
		{"delete interface", "machine: {network: {interfaces: [{interface: eth0, $patch: delete}]}}",
			"-- interface: eth0\n-dhcp: true\n-addresses:\n-- 10.0.0.1/24\n-vlans:\n-- vlanId: 5\n-mtu: 1400\n"},
		{"delete map key", "machine: {sysctls: {a: {$patch: delete}}}", "+sysctls:\n+b: \"2\"\n-sysctls: {a: \"1\", b: \"2\"}\n"},
		{"new document", "kind: WatchdogTimerConfig\napiVersion: v1alpha1\ndevice: /dev/watchdog0", "+---\n+kind: WatchdogTimerConfig\n+apiVersion: v1alpha1\n+device: /dev/watchdog0\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := apply(t, normal, c.patch)
			if err != nil {
				t.Fatal(err)
			}

			if got := section(normal, out); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}

			if !strings.Contains(out, "# comments stay") {
				t.Error("a comment is lost")
			}
		})
	}
}

func TestDocuments(t *testing.T) {
	const rules = `kind: NetworkRuleConfig
apiVersion: v1alpha1
name: a
portSelector: {ports: [80], protocol: tcp}
ingress: [{subnet: 10.0.0.0/8}]
---
kind: NetworkRuleConfig
apiVersion: v1alpha1
name: b
---
kind: ExtensionServiceConfig
apiVersion: v1alpha1
name: nut
configFiles: [{mountPath: /a, content: x}]
environment: [A=1]
`

	out, err := apply(t, rules, `kind: NetworkRuleConfig
apiVersion: v1alpha1
name: b
$patch: delete
---
kind: NetworkRuleConfig
apiVersion: v1alpha1
name: a
portSelector: {ports: [443]}
ingress: [{subnet: 0.0.0.0/0}]
---
kind: ExtensionServiceConfig
apiVersion: v1alpha1
name: nut
configFiles: [{mountPath: /a, content: y}, {mountPath: /b, content: z}]
environment: [B=2]
`)
	if err != nil {
		t.Fatal(err)
	}

	c, err := config.Load([]byte(out))
	if err != nil {
		t.Fatal(err)
	}

	found := config.Of[*config.NetworkRuleConfig](c)
	if len(found) != 1 || len(found[0].Ingress) != 1 || found[0].Ingress[0].Subnet != "0.0.0.0/0" || found[0].PortSelector.Protocol != "tcp" || len(found[0].PortSelector.Ports) != 1 {
		t.Errorf("rules:\n%s", out)
	}

	nut := config.Of[*config.ExtensionServiceConfig](c)[0]
	if len(nut.ConfigFiles) != 2 || nut.ConfigFiles[0].Content != "y" || len(nut.Environment) != 2 {
		t.Errorf("extension service:\n%s", out)
	}
}

func TestJSONPatch(t *testing.T) {
	for _, c := range []struct{ name, patch, want string }{
		{"replace", "- op: replace\n  path: /machine/network/hostname\n  value: b", "+hostname: b\n-hostname: a\n"},
		{"in JSON", `[{"op": "add", "path": "/machine/network/interfaces/0/mtu", "value": 9000}]`, "+mtu: 9000\n"},
		{"append", `[{"op": "add", "path": "/machine/network/interfaces/0/addresses/-", "value": "10.0.0.9/24"}]`, "+- \"10.0.0.9/24\"\n"},
		{"insert", `[{"op": "add", "path": "/cluster/network/podSubnets/0", "value": "10.1.0.0/16"}]`, "+- \"10.1.0.0/16\"\n"},
		{"remove", `[{"op": "remove", "path": "/machine/network/interfaces/0/dhcp"}]`, "-dhcp: true\n"},
		{"test passes", `[{"op": "test", "path": "/machine/type", "value": "worker"}]`, ""},
		{"copy", `[{"op": "copy", "from": "/machine/network/interfaces/1/mtu", "path": "/machine/network/interfaces/0/mtu"}]`, "+mtu: 1500\n"},
		{"move", `[{"op": "move", "from": "/machine/network/interfaces/1/mtu", "path": "/machine/network/interfaces/0/mtu"}]`, ""},
		{"replace of a key that is not there", `[{"op": "replace", "path": "/machine/time", "value": {"disabled": true}}]`, "+time: {\"disabled\": true}\n"},
		{"escapes", `[{"op": "add", "path": "/machine/sysctls", "value": {}}, {"op": "add", "path": "/machine/sysctls/a~1b~0c", "value": "1"}]`, "+sysctls:\n+\"a/b~c\": \"1\"\n-sysctls: {a: \"1\", b: \"2\"}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			normal, err := apply(t, base, "machine: {}")
			if err != nil {
				t.Fatal(err)
			}

			out, err := apply(t, normal, c.patch)
			if err != nil {
				t.Fatal(err)
			}

			if got := strings.ReplaceAll(section(normal, out), `+a/b~c`, `+"a/b~c"`); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, base, patch, want string }{
		{"nothing left", base, `{"$patch": "delete"}`, "patch 1: nothing would be left of the configuration"},
		{"replace beyond a list", base, `[{"op": "replace", "path": "/cluster/network/podSubnets/7", "value": "a"}]`, "there is no /cluster/network/podSubnets/7"},
		{"unknown field", base, "machine: {nework: {}}", `machine.nework: unknown field (hint: did you mean "network"?)`},
		{"unknown directive", base, "machine: {network: {$patch: merge}}", `machine.network.$patch: "merge" is not known, it is delete`},
		{"delete nothing", base, "machine: {time: {$patch: delete}}", "delete machine.time: there is none"},
		{"delete no element", base, "machine: {network: {interfaces: [{interface: eth7, $patch: delete}]}}", "delete machine.network.interfaces[0]: no element has these values"},
		{"delete no document", base, "{kind: WatchdogTimerConfig, apiVersion: v1alpha1, $patch: delete}", "delete document WatchdogTimerConfig: there is none"},
		{"unknown op", base, `[{"op": "increase", "path": "/machine"}]`, `op "increase" is not one of`},
		{"no value", base, `[{"op": "add", "path": "/machine"}]`, "add without value"},
		{"no such path", base, `[{"op": "replace", "path": "/machine/time/disabled", "value": true}]`, "there is no /machine/time"},
		{"failing test", base, `[{"op": "test", "path": "/machine/type", "value": "controlplane"}]`, "operation 1 (test /machine/type): the value is another one"},
		{"index beyond", base, `[{"op": "add", "path": "/cluster/network/podSubnets/7", "value": "a"}]`, "index 7 is beyond the end"},
		{"into itself", base, `[{"op": "move", "from": "/machine", "path": "/machine/network"}]`, "a value cannot be moved into itself"},
		{"wrong result", base, `[{"op": "add", "path": "/machine/nonsense", "value": 1}]`, "the patched configuration: machine configuration: document 1 (v1alpha1), line"},
		{"several documents", base + "---\nkind: WatchdogTimerConfig\napiVersion: v1alpha1\n", `[{"op": "remove", "path": "/machine"}]`, "this one has 2: use a strategic merge patch"},
	} {
		if _, err := apply(t, c.base, c.patch); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func FuzzPatch(f *testing.F) {
	for _, text := range []string{
		"machine: {network: {hostname: b}}", "machine: {network: {$patch: delete}}", `[{"op": "move", "from": "/machine/network", "path": "/cluster/x"}]`,
		`[{"op": "add", "path": "/machine/network/interfaces/-", "value": {"interface": "lo"}}]`, "- {op: copy, from: /machine, path: ''}",
		"machine: {sysctls: &a {b: c, <<: *a}}", "cluster: {apiServer: {auditPolicy: {$patch: delete}}}",
	} {
		f.Add(text)
	}

	if data, err := os.ReadFile("../testdata/worker.yaml"); err == nil {
		f.Add(string(data))
	}

	f.Fuzz(func(t *testing.T, text string) {
		p, err := patch.Load(text)
		if err != nil {
			return
		}

		out, err := patch.Apply([]byte(base), p)
		if err != nil {
			return
		}

		if _, err := config.Load(out); err != nil {
			t.Errorf("the result does not load: %v", err)
		}
	})
}

// TestZeroKeeps: what a strategic patch sets to the empty text or to 0 stays as it is, by the contract's rules; false counts.
func TestZeroKeeps(t *testing.T) {
	const text = `version: v1alpha1
debug: true
machine:
    type: worker
    token: a
    network: {hostname: h, interfaces: [{interface: eth0, mtu: 1400, dhcp: true, vlans: [{vlanId: 5, mtu: 1300}]}]}
    install: {disk: /dev/sda, wipe: true}
    sysctls: {a: "1"}
    time: {bootTimeout: 2m}
    ca: {crt: YQ==}
    files: [{path: /a, permissions: 0o644}]
    kubelet: {extraConfig: {podsPerCore: 5, name: x}}
cluster:
    controlPlane: {endpoint: "https://a:6443", localAPIServerPort: 7443}
    proxy: {disabled: true}
`

	for patch, want := range map[string]string{
		`machine: {type: "", token: '', network: {hostname: ""}}`:                                     "",
		`machine: {network: {interfaces: [{interface: eth0, mtu: 0, vlans: [{vlanId: 5, mtu: 0}]}]}}`: "",
		`machine: {install: {disk: ""}, sysctls: {a: ""}, time: {bootTimeout: 0s}, ca: {crt: ""}}`:    "",
		`cluster: {controlPlane: {endpoint: "", localAPIServerPort: 0x0}}`:                            "",
		`debug: false`: "debug",
		`machine: {network: {interfaces: [{interface: eth0, dhcp: false}]}}`: "machine.network.interfaces",
		`cluster: {proxy: {disabled: false}}`:                                "cluster.proxy.disabled",
		`machine: {install: {wipe: false}}`:                                  "machine.install.wipe",
		`machine: {sysctls: {b: ""}}`:                                        "machine.sysctls.b",
		`machine: {kubelet: {extraConfig: {podsPerCore: 0}}}`:                "machine.kubelet.extraConfig.podsPerCore",
		`machine: {kubelet: {extraConfig: {name: ""}}}`:                      "machine.kubelet.extraConfig.name",
		"# nothing": "",
		"[]":        "",
	} {
		out, err := apply(t, text, patch)
		if err != nil {
			t.Errorf("%s: %v", patch, err)

			continue
		}

		var got []string
		for _, change := range diff.Changes(parsed(t, text), parsed(t, out)) {
			got = append(got, change.String())
		}

		if strings.Join(got, " ") != want {
			t.Errorf("%s changes %v, want %q", patch, got, want)
		}
	}
}

func parsed(t *testing.T, text string) config.Tree {
	t.Helper()

	docs, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}

	return docs
}

// TestCommentsApart: what is written above a configuration, with a line between, stays.
func TestCommentsApart(t *testing.T) {
	const text = "# whose it is\n\n# more of it\n\nversion: v1alpha1\n# a\ndebug: true\n---\napiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: a:1\n"

	out, err := apply(t, text, "debug: false")
	if err != nil {
		t.Fatal(err)
	}

	for _, comment := range []string{"# whose it is", "# more of it", "# a\n"} {
		if strings.Count(out, comment) != 1 {
			t.Errorf("%q is lost:\n%s", comment, out)
		}
	}
}

// TestEmptyPatch changes nothing, whatever the configuration looks like.
func TestEmptyPatch(t *testing.T) {
	const two = base + "---\napiVersion: v1alpha1\nkind: WatchdogTimerConfig\ndevice:   /dev/watchdog0\n"

	for _, patch := range []string{"", "# a comment\n", "[]", "---\n", "null"} {
		if out, err := apply(t, two, patch); err != nil || out != two {
			t.Errorf("%q: %v\n%s", patch, err, out)
		}
	}
}
