package active_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/config/patch"
	"github.com/dactyl-os/dactyl/services/configd/internal/active"
	"github.com/dactyl-os/dactyl/services/configd/internal/plan"
	"github.com/dactyl-os/dactyl/services/configd/internal/store"
)

// published is what the machine was said to have: the configuration's text, "none" or "shut".
type published struct{ last string }

func (p *published) Config(c *config.Config) error {
	p.last = string(c.Bytes())

	return nil
}

func (p *published) None() error {
	p.last = "none"

	return nil
}

func (p *published) Shut() error {
	p.last = "shut"

	return nil
}

// boot starts configd's part of a node on a state directory and gives what it publishes.
func boot(t testing.TB, dir string, mode config.Mode) (*active.Active, *published) {
	t.Helper()

	files, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}

	p := &published{}

	a, err := active.Open(active.Options{
		Store: files, Boot: "b", Mode: mode, Publish: p, Available: func() error { return nil }, Tell: func(string) {},
		Reboot: func(context.Context) error { return nil }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}

	return a, p
}

// TestStartsWithEveryStoredConfiguration: each field of each document set once, to something odd that a v1.8 machine may have; the
// file is as an upgrade finds it, without a copy. And each that may be applied as a new one is there after a restart, too.
func TestStartsWithEveryStoredConfiguration(t *testing.T) {
	out, err := generate.Config(generate.Input{ClusterName: "odd", Endpoint: "https://10.5.0.2:6443"})
	if err != nil {
		t.Fatal(err)
	}

	stored, applied := 0, 0

	for place, change := range changes() {
		text, err := yaml.Marshal(change)
		if err != nil {
			t.Fatal(err)
		}

		p, err := patch.Load(string(text))
		if err != nil {
			t.Fatalf("%s: %v\n%s", place, err, text)
		}

		data, err := patch.Apply(out.ControlPlane, p)
		if err != nil {
			t.Fatalf("%s: %v\n%s", place, err, text)
		}

		for _, mode := range []config.Mode{config.Container, config.Metal} {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, store.ConfigFile), data, 0o600); err != nil {
				t.Fatal(err)
			}

			if _, p := boot(t, dir, mode); p.last != string(data) {
				t.Errorf("%s, %s: the machine has %.40q", place, mode, p.last)
			}
		}

		stored++

		if survives(t, place, data) {
			applied++
		}
	}

	t.Logf("%d configurations, %d of them may be applied as new ones", stored, applied)

	if stored < 300 || applied < 250 {
		t.Errorf("%d stored, %d applied: fields are lost to this test", stored, applied)
	}
}

// TestComplains: what is wrong with a stored configuration is in the log, also of one with a whole copy.
func TestComplains(t *testing.T) {
	out, err := generate.Config(generate.Input{ClusterName: "odd", Endpoint: "https://10.5.0.2:6443"})
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	odd := strings.Replace(string(out.Worker), "forwardKubeDNSToHost: true", "forwardKubeDNSToHost: false", 1)

	if err := os.WriteFile(filepath.Join(dir, store.ConfigFile), []byte(odd), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, start := range []string{"as an upgrade finds it", "with a copy"} {
		var log strings.Builder

		files, err := store.Open(dir)
		if err != nil {
			t.Fatal(err)
		}

		_, err = active.Open(active.Options{
			Store: files, Mode: config.Container, Publish: &published{}, Available: func() error { return nil }, Tell: func(string) {},
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil || strings.Count(log.String(), "machine.features.hostDNS.forwardKubeDNSToHost: missing") != 1 {
			t.Errorf("%s: %v, log:\n%s", start, err, log.String())
		}
	}
}

// survives applies a configuration and restarts; false if a new one like that is refused.
func survives(t *testing.T, place string, data []byte) bool {
	t.Helper()

	dir := t.TempDir()
	a, _ := boot(t, dir, config.Container)

	if _, err := a.Apply(t.Context(), active.Request{Data: data, Mode: plan.Auto}); err != nil {
		return false
	}

	if _, p := boot(t, dir, config.Container); p.last != string(data) {
		t.Errorf("%s: after a restart the machine has %.40q", place, p.last)
	}

	return true
}

// changes gives for each field a document that sets it and what its neighbours need.
func changes() map[string]map[string]any {
	all := map[string]map[string]any{}

	for path, value := range values(reflect.TypeFor[config.V1Alpha1](), "") {
		all[path] = value.(map[string]any) //nolint:forcetypeassert // a struct's
	}

	for _, kind := range strings.Fields("VolumeConfig ExtensionServiceConfig NetworkDefaultActionConfig NetworkRuleConfig KubeSpanEndpointsConfig " +
		"KubeSpanEndpoints EventSinkConfig KmsgLogConfig WatchdogTimerConfig TrustedRootsConfig SideroLinkConfig") {
		schema, known := config.SchemaOf(kind)
		if !known { // an old spelling
			schema, _ = config.SchemaOf(kind + "Config")
		}

		for path, value := range values(schema, "") {
			document := value.(map[string]any) //nolint:forcetypeassert // a struct's
			document["apiVersion"], document["kind"] = "v1alpha1", kind
			all[kind+" "+path] = document
		}
	}

	return all
}

// odd are values of fields that take not just any text.
var odd = map[string]string{
	"version": "v1alpha1", "addresses": "10.0.0.1", "endpoint": "https://[fd00::2]:6443", "ip": "fd00::5", "network": "0.0.0.0/0", "gateway": "fe80::1",
	"hostname": "A-1.example.org.", "interface": "eth0.5", "nameservers": "::1", "podSubnets": "fd00::/108", "serviceSubnets": "fd01::/112",
	"dnsDomain": "cluster.local.", "token": "abcdef.0123456789abcdef", "match": "disk.size > 1u * TB", "url": "udp://[::1]:514", "apiUrl": "grpc://a:1?jointoken=x",
	"device": "/dev/watchdog9", "mountPath": "/a b", "content": "\x7f€\n\n", "certSANs": "*.example.org", "aliases": "a", "servers": "/dev/ptp0",
	"path": "/", "mountpoint": "/var/é", "subnet": "::/0", "except": "fd00::/8", "validSubnets": "!10.0.0.0/8", "advertisedSubnets": "!::/0",
	"listenSubnets": "0.0.0.0/0", "clusterDNS": "fd00::a", "destination": "/", "hostPath": "/", "extraManifests": "http://a/b?c", "manifests": "http://a/",
	"urls": "https://a/", "endpoints": "http://[::1]:5000", "extraAnnouncedEndpoints": "[fd00::1]:1", "privateKey": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"publicKey": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "allowedIPs": "::/0", "source": "fd00::9", "allowedRoles": "os:reader",
	"secretboxEncryptionSecret": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "aescbcEncryptionSecret": "AAAAAAAAAAAAAAAAAAAAAA==", "secret": "AA==",
	"hardwareAddr": "02:*", "pciID": "*:1", "name": "EPHEMERAL", "environment": "A=", "adActorSystem": "02:00:00:00:00:01", "arpIPTarget": "10.0.0.9",
}

// companions are what a section needs beside a field, to be more than half a thing.
var companions = map[string]map[string]any{
	"Device": {"interface": "eth0"}, "Vlan": {"vlanId": 4094}, "Bond": {"interfaces": []any{"eth8", "eth9"}, "miimon": 100},
	"ExtraMount": {"destination": "/"}, "MachineFile": {"path": "/a"}, "MachineDisk": {"device": "/dev/sdz"}, "DiskPartition": {"mountpoint": "/var/x"},
	"EncryptionConfig": {"keys": []any{map[string]any{"slot": 31, "nodeID": map[string]any{}}}}, "KernelModuleConfig": {"name": "a-b"},
	"DeviceWireguardConfig": {"privateKey": wireguardKey}, "DeviceWireguardPeer": {"publicKey": wireguardKey}, "DeviceVIPConfig": {"ip": "10.0.0.0"},
	"ExtraHost": {"ip": "0.0.0.0"}, "VolumeConfig": {"name": "EPHEMERAL"}, "KmsgLogConfig": {"name": "é", "url": "tcp://a:1"},
	"TrustedRootsConfig": {"name": "é"}, "WatchdogTimerConfig": {"device": "/dev/null"}, "ExtensionServiceConfig": {"name": "é", "environment": []any{"A=b=c"}},
	"ConfigFile": {"mountPath": "/", "content": "x"}, "IngressRule": {"subnet": "0.0.0.0/0"}, "RulePortSelector": {"protocol": "udp", "ports": []any{"1-65535"}},
	"NetworkRuleConfig": {"name": "é", "portSelector": map[string]any{"protocol": "icmp"}, "ingress": []any{map[string]any{"subnet": "::/0"}}},
	"VolumeMountConfig": {"hostPath": "/", "mountPath": "/"}, "AdmissionPluginConfig": {"name": "é"}, "ClusterInlineManifest": {"name": "é"},
	"MachineSeccompProfile": {"name": "é"}, "LoggingDestination": {"endpoint": "udp://a:1", "format": "json_lines"}, "Route": {"network": "fd00::/8"},
	"ExternalCloudProviderConfig": {"enabled": true},
}

const wireguardKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// values gives a value of a type for each field in it: a struct with this one field and its name, a list or map of one element.
func values(t reflect.Type, name string) map[string]any {
	all := map[string]any{}

	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}

	if _, scalar := reflect.New(t).Interface().(interface{ UnmarshalText([]byte) error }); scalar {
		return map[string]any{"": map[string]any{
			"Duration": "1h0.5s", "Base64": "", "FileMode": "0o4755", "ByteSize": "1.5GiB", "PortRange": "1-65535",
		}[t.Name()]}
	}

	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)

			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if key == "" {
				continue
			}

			hint := key
			if enum := f.Tag.Get("enum"); enum != "" {
				hint = "=" + enum[:strings.IndexByte(enum+"|", '|')]
			}

			for path, value := range values(f.Type, hint) {
				section := maps.Clone(companions[t.Name()])
				if section == nil {
					section = map[string]any{}
				}

				section[key] = value
				all[strings.TrimSuffix(key+"."+path, ".")] = section
			}
		}
	case reflect.Slice:
		for path, value := range values(t.Elem(), name) {
			all[path] = []any{value}
		}
	case reflect.Map:
		for path, value := range values(t.Elem(), name) {
			all[path] = map[string]any{"a.b/c": value}
		}
	case reflect.Bool:
		all[""] = true
	case reflect.String:
		all[""] = text(name)
	case reflect.Interface:
		all[""] = []any{map[string]any{"": nil}}
	default:
		all[""] = 7
		if name == "mtu" {
			all[""] = 1280
		}
	}

	return all
}

func text(name string) string {
	if word, enum := strings.CutPrefix(name, "="); enum {
		return word
	}

	if word, known := odd[name]; known {
		return word
	}

	return fmt.Sprintf("%s é", name)
}
