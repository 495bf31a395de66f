package config_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/patch"
)

func fixture(t testing.TB, name string) string {
	t.Helper()

	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}

	return string(data)
}

// golden compares with testdata/NAME, which UPDATE=1 writes.
func golden(t *testing.T, name, got string) {
	t.Helper()

	path := filepath.Join("testdata", name)

	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	if want := fixture(t, name); got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// network puts YAML into the fixture's machine.network.
func network(t *testing.T, name, text string) string {
	return strings.Replace(fixture(t, name), "    network: {}\n", "    network:\n"+text, 1)
}

// judge loads and validates.
func judge(data string) error {
	c, err := config.Load([]byte(data))
	if err != nil {
		return err
	}

	_, err = c.Validate(config.Metal, config.New)

	return err
}

func TestBadInput(t *testing.T) {
	withoutLine := func(data, prefix string) string {
		before, after, _ := strings.Cut(data, prefix)
		_, after, _ = strings.Cut(after, "\n")

		return before + after
	}

	controlPlane := fixture(t, "controlplane.yaml")

	for name, data := range map[string]string{
		"unknown-field": strings.Replace(controlPlane, "clusterName:", "clustername:", 1) + "    nonsense: 1\n",
		"wrong-type": strings.NewReplacer("wipe: false", "wipe: perhaps", "network: {}", "network: [eth0]", "port: 7445", "port: many",
			"- 10.244.0.0/16", "- {a: b}").Replace(controlPlane),
		"two-documents":       controlPlane + "---\n" + controlPlane,
		"two-named-documents": "apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: a\nurl: tcp://a:1\n---\nkind: KmsgLogConfig\napiVersion: v1alpha1\nname: a\n",
		"unknown-kind":        "apiVersion: v1alpha1\nkind: WatchdogTimer\n",
		"bad-cidr": network(t, "controlplane.yaml", `        interfaces:
            - interface: eth0
              addresses:
                  - 10.5.0.2/24
                  - 10.0.0.300/8
              routes:
                  - network: 10.9.0.0/33
                    gateway: 10.5.0.1
`),
		"duplicate-interface": network(t, "controlplane.yaml", `        interfaces:
            - interface: eth0
              dhcp: true
            - interface: eth1
            - interface: eth0
              mtu: 9000
`),
		"missing-ca":       withoutLine(withoutLine(withoutLine(controlPlane, "    ca:"), "        crt:"), "        key:"),
		"missing-required": "version: v1alpha1\nmachine: {}\ncluster: {}\n",
		"network": network(t, "worker.yaml", `        hostname: -bad-
        nameservers: [dns.example.org]
        interfaces:
            - interface: a-name-that-is-too-long
              addresses: [fd00::1/129, 10.0.0.1]
              mtu: 20
              bond: {mode: 802.3ad, updelay: 5, interfaces: [eth1, eth1]}
              bridge: {interfaces: [eth2]}
              vip: {ip: 10.0.0.5}
              vlans:
                  - vlanId: 4095
                  - addresses: [10.0.0.1/40]
                  - vlanId: 7
                  - vlanId: 7
            - mtu: 1500
            - deviceSelector: {}
              routes: [{metric: 3}]
              wireguard: {privateKey: short, peers: [{publicKey: x, endpoint: y, allowedIPs: [z]}]}
`),
		"machine": strings.NewReplacer("    network: {}\n", `    time: {servers: ["a b"], bootTimeout: -1s}
    nodeTaints: {a: "x:Never"}
    files: [{path: relative, content: a, permissions: 0o644}]
    env: {"A B": c}
    logging: {destinations: [{endpoint: http://a, format: json_lines}]}
    systemDiskEncryption: {state: {provider: luks2, keys: [{slot: 0}, {slot: 0, nodeID: {}, tpm: {}}]}}
    disks: [{device: /dev/sdb, partitions: [{mountpoint: /a}, {mountpoint: b}]}]
    registries: {mirrors: {docker.io: {endpoints: ["ftp://a"]}}, config: {"http://a": {}}}
    pods: [{kind: Deployment}]
`, "    registries: {}\n", "", "https://10.5.0.2:6443", "http://10.5.0.2:70000", "10.96.0.0/12", "10.96.0.0").Replace(fixture(t, "worker.yaml")),
		"documents": controlPlane + `---
apiVersion: v1alpha1
kind: WatchdogTimerConfig
device: watchdog0
timeout: 1s
---
apiVersion: v1alpha1
kind: NetworkRuleConfig
name: a
portSelector: {protocol: tcp, ports: [80, 70-90]}
ingress: [{subnet: 10.0.0.0}]
---
apiVersion: v1alpha1
kind: VolumeConfig
name: DATA
provisioning: {minSize: 2GiB, maxSize: 1GiB, diskSelector: {}}
---
apiVersion: v1alpha1
kind: ExtensionServiceConfig
name: b
environment: [A]
configFiles: [{mountPath: a, content: b}]
---
apiVersion: v1alpha1
kind: EventSinkConfig
endpoint: nowhere
---
apiVersion: v1alpha1
kind: KmsgLogConfig
name: c
url: http://a
---
kind: TrustedRootsConfig
apiVersion: v1alpha1
name: d
certificates: none
---
kind: SideroLinkConfig
apiVersion: v1alpha1
apiUrl: a
---
kind: NetworkDefaultActionConfig
apiVersion: v1alpha1
---
kind: KubeSpanEndpointsConfig
apiVersion: v1alpha1
extraAnnouncedEndpoints: [a]
`,
		"not-yaml":    "machine:\n\tnetwork: {}\n",
		"plain-text":  "hello\n",
		"empty":       "# nothing\n---\n",
		"nesting":     strings.Repeat("[", 10<<20),
		"nesting-3mb": "machine: " + strings.Repeat("{a: ", 3<<20/4),
		"alias-bomb":  aliasBomb(),
		"redacted":    strings.Replace(controlPlane, "vmg3sz.tu9xjpwub8derhlc", "'******'", 1),
	} {
		t.Run(name, func(t *testing.T) {
			err := judge(data)
			if err == nil {
				t.Fatal("accepted")
			}

			golden(t, "bad/"+name+".txt", err.Error()+"\n")
		})
	}

	t.Run("patch-deletes-required", func(t *testing.T) {
		p, err := patch.Load("cluster:\n  controlPlane:\n    $patch: delete\n")
		if err != nil {
			t.Fatal(err)
		}

		out, err := patch.Apply([]byte(controlPlane), p)
		if err != nil {
			t.Fatal(err)
		}

		golden(t, "bad/patch-deletes-required.txt", judge(string(out)).Error()+"\n")
	})
}

func aliasBomb() string {
	var b strings.Builder

	b.WriteString("machine:\n  pods:\n    - a0: &a0 {x: y}\n")

	for i := 1; i < 12; i++ {
		prev := string(rune('a'+i-1)) + "0"
		if i == 1 {
			prev = "a0"
		}

		name := string(rune('a'+i)) + "0"
		b.WriteString("    - " + name + ": &" + name + " {" + strings.TrimSuffix(strings.Repeat("q: *"+prev+", ", 1), ", ") + ", r: *" + prev + ", s: *" + prev + ", t: *" + prev + "}\n")
	}

	return b.String()
}

// Ten megabytes of anything are refused before a parser sees them, so the cost is bounded too.
func TestHostileInputIsCheap(t *testing.T) {
	for name, text := range map[string]string{
		"10 MB": strings.Repeat("[", 10<<20), "flow": strings.Repeat("[", 4<<20), "maps": strings.Repeat("{a: ", 1<<20),
		"dashes": strings.Repeat("- ", 2<<20), "explicit keys": strings.Repeat("? ", 2<<20), "bomb": aliasBomb(),
	} {
		var before, after runtime.MemStats

		runtime.ReadMemStats(&before)

		start := time.Now()
		if _, err := config.Load([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}

		runtime.ReadMemStats(&after)

		if took, spent := time.Since(start), (after.TotalAlloc-before.TotalAlloc)>>20; took > 2*time.Second || spent > 100 {
			t.Errorf("%s: took %s and %d MB", name, took, spent)
		}
	}
}

// The guides' snippets are partial, so they are loaded, not validated.
func TestGuideExamplesLoad(t *testing.T) {
	for name, text := range map[string]string{
		"static": `machine:
  network:
    hostname: talos
    nameservers:
      - 10.0.0.1
    interfaces:
      - interface: eth0
        addresses:
          - 10.0.0.201/8
        mtu: 8765
        routes:
          - network: 0.0.0.0/0
            gateway: 10.0.0.1
      - interface: eth1
        ignore: true
  time:
    servers:
      - time.cloudflare.com
`,
		"bond": `machine:
  network:
    interfaces:
      - interface: bond0
        dhcp: true
        bond:
          mode: 802.3ad
          lacpRate: fast
          xmitHashPolicy: layer3+4
          miimon: 100
          updelay: 200
          downdelay: 200
          interfaces:
            - eth0
            - eth1
`,
		"bridge and vlan": `machine:
  network:
    interfaces:
      - interface: br0
        addresses:
          - 192.168.0.42/24
        bridge:
          stp:
            enabled: true
          interfaces:
              - eth0
              - eth1
      - interface: eth0
        dhcp: false
        vlans:
          - vlanId: 100
            addresses:
              - "192.168.2.10/28"
            routes:
              - network: 0.0.0.0/0
                gateway: 192.168.2.1
`,
		"etcd quota":  "cluster:\n  etcd:\n    extraArgs:\n      quota-backend-bytes: 4294967296 # 4 GiB\n",
		"permissions": "machine:\n  files:\n    - content: a\n      permissions: 0o644\n      path: /etc/ssl/certs/ca-certificates\n      op: append\n",
		"watchdog":    "apiVersion: v1alpha1\nkind: WatchdogTimerConfig\ndevice: /dev/watchdog0\ntimeout: 5m\n",
		"api access":  "machine:\n  features:\n    kubernetesTalosAPIAccess:\n      enabled: true\n      allowedRoles:\n        - os:reader\n      allowedKubernetesNamespaces:\n        - default\n",
		"anchors":     "machine:\n  sysctls: &s {a: 1}\n  sysfs: {<<: *s, b: 2}\n",
	} {
		c, err := config.Load([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)

			continue
		}

		if !bytes.Equal(c.Bytes(), []byte(text)) {
			t.Errorf("%s: the bytes changed", name)
		}
	}
}

// What deploy/examples holds are patches that leave every machine valid.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../deploy/examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d examples, error %v", len(files), err)
	}

	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}

		p, err := patch.Load(string(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)

			continue
		}

		for _, base := range []string{"controlplane.yaml", "worker.yaml"} {
			out, err := patch.Apply([]byte(fixture(t, base)), p)
			if err == nil {
				err = judge(string(out))
			}

			if err != nil {
				t.Errorf("%s on %s: %v", file, base, err)
			}
		}
	}
}

func TestValues(t *testing.T) {
	c, err := config.Load([]byte(`
machine:
  type: join
  time: {bootTimeout: 2m30s}
  files: [{path: /a, content: "", permissions: 420}, {path: /b, content: "", permissions: 0o600}, {path: /c, content: "", permissions: 0755}]
  disks: [{device: /dev/sdb, partitions: [{size: 100 MB, mountpoint: /a}, {size: 4GiB, mountpoint: /b}, {size: 5, mountpoint: /c}]}]
  ca: {crt: aGVsbG8=, key: ""}
  sysfs: &x {a: 1, b: yes}
  sysctls: {<<: *x, b: no}
  network: {interfaces: [{interface: eth0, dhcp: off}]}
cluster: {etcd: {extraArgs: {quota: 4294967296, on: true}}}
---
apiVersion: v1alpha1
kind: NetworkRuleConfig
name: r
portSelector: {ports: [80, 2379-2380], protocol: tcp}
`))
	if err != nil {
		t.Fatal(err)
	}

	m := c.Machine()
	if c.MachineType() != "worker" || m.Time.BootTimeout.Duration() != 150*time.Second || string(m.CA.Crt) != "hello" {
		t.Errorf("type %s, timeout %s, crt %s", c.MachineType(), m.Time.BootTimeout.Duration(), m.CA.Crt)
	}

	if m.Files[0].Permissions != 0o644 || m.Files[1].Permissions != 0o600 || m.Files[2].Permissions != 0o755 {
		t.Errorf("permissions %o %o %o", m.Files[0].Permissions, m.Files[1].Permissions, m.Files[2].Permissions)
	}

	if p := m.Disks[0].Partitions; p[0].Size != 100e6 || p[1].Size != 4<<30 || p[2].Size != 5 {
		t.Errorf("sizes %d %d %d", p[0].Size, p[1].Size, p[2].Size)
	}

	if m.Sysctls["a"] != "1" || m.Sysctls["b"] != "no" || m.Sysfs["b"] != "yes" || config.Bool(c.Network().Interfaces[0].DHCP, true) {
		t.Errorf("sysctls %v, sysfs %v", m.Sysctls, m.Sysfs)
	}

	if args := c.Cluster().Etcd.ExtraArgs; args["quota"] != "4294967296" || args["on"] != "true" {
		t.Errorf("extraArgs %v", args)
	}

	rules := config.Of[*config.NetworkRuleConfig](c)
	if len(rules) != 1 || rules[0].PortSelector.Ports[1] != (config.PortRange{Low: 2379, High: 2380}) {
		t.Errorf("rules %+v", rules)
	}
}

func TestWarnings(t *testing.T) {
	data := strings.Replace(fixture(t, "worker.yaml"), "wipe: false", "bootloader: true", 1)
	data = strings.Replace(data, "type: worker", "type: join", 1)
	data += "---\napiVersion: v1alpha1\nkind: KubeSpanEndpoints\nextraAnnouncedEndpoints: [\"192.168.13.46:52000\"]\n"

	c, err := config.Load([]byte(data))
	if err != nil {
		t.Fatal(err)
	}

	findings, err := c.Validate(config.Metal, config.New)
	if err != nil {
		t.Fatal(err)
	}

	golden(t, "warnings.txt", strings.Join(findings.All(), "\n")+"\n")
}

func TestModes(t *testing.T) {
	data := strings.Replace(fixture(t, "worker.yaml"), "        disk: /dev/sda\n", "", 1)

	c, err := config.Load([]byte(data))
	if err != nil {
		t.Fatal(err)
	}

	for mode, fails := range map[config.Mode]bool{config.Metal: true, config.Container: false, config.Cloud: false} {
		if _, err := c.Validate(mode, config.New); (err != nil) != fails {
			t.Errorf("mode %s: %v", mode, err)
		}
	}

	if _, err := config.ParseMode("moon"); err == nil {
		t.Error("an unknown mode is accepted")
	}
}

func FuzzLoad(f *testing.F) {
	// Small seeds: the fuzzer spends its time on shrinking large ones.
	f.Add([]byte("version: v1alpha1\nmachine:\n  type: worker\n  token: a\n  ca: {crt: YQ==, key: ''}\n  network: {interfaces: [{interface: eth0, addresses: [10.0.0.1/8], vlans: [{vlanId: 5}], vip: {ip: a}}]}\ncluster: {controlPlane: {endpoint: https://a:6443}}\n"))
	f.Add([]byte("machine: {nodeTaints: {a: b}, registries: {mirrors: {a: {endpoints: [b]}}}, systemDiskEncryption: {state: {keys: [{slot: 1, tpm: {}}]}}, time: {bootTimeout: 1s}}"))
	f.Add([]byte("kind: NetworkRuleConfig\napiVersion: v1alpha1\nname: a\nportSelector: {ports: [1, 2-3], protocol: tcp}\ningress: [{subnet: 10.0.0.0/8}]"))
	f.Add([]byte("machine: {network: {interfaces: [{interface: eth0, <<: {mtu: 1}}]}}\n---\nkind: WatchdogTimerConfig\napiVersion: v1alpha1"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("&a {<<: *a}"))
	f.Add([]byte("machine: {pods: [{? [a] : b}], files: [{permissions: 0o9}], disks: [{partitions: [{size: 1e999GB}]}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Load(data)
		if err != nil {
			_ = err.Error()

			return
		}

		if !bytes.Equal(c.Bytes(), data) {
			t.Error("the bytes changed")
		}

		for _, mode := range []config.Mode{config.Metal, config.Container} {
			if _, err := c.Validate(mode, config.New); err != nil {
				_ = err.Error()
			}
		}
	})
}

// TestURLsAreToldWithoutSecrets: what is wrong with a URL is said without what gets one in by it.
func TestURLsAreToldWithoutSecrets(t *testing.T) {
	c, err := config.Load([]byte(`version: v1alpha1
machine:
  type: controlplane
  registries:
    mirrors: {docker.io: {endpoints: ["ftp://me:hidden-word@mirror.example/x?hidden-word"]}}
cluster:
  controlPlane: {endpoint: "http://me:hidden-word@api.example/?hidden-word"}
  extraManifests: ["ftp://hidden-word@a.example/m.yaml?token=hidden-word", "https://me:hidden word@a.example/"]
  discovery: {registries: {service: {endpoint: "ftp://me:hidden-word@d.example/"}}}
`))
	if err != nil {
		t.Fatal(err)
	}

	findings, err := c.Validate(config.Container, config.New)
	if err == nil || strings.Contains(fmt.Sprint(err, findings), "hidden") {
		t.Errorf("%v %v", err, findings)
	}

	for _, place := range []string{"mirror.example/x", "a.example/m.yaml", "d.example/"} {
		if !strings.Contains(err.Error(), place) {
			t.Errorf("%s is not named: %v", place, err)
		}
	}
}
