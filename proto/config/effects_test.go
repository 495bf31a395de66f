package config_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// indifferent are the fields that have no effect in the contract either, or ask for what this system always does; the last line is
// of what is being made.
var indifferent = []string{
	"version", "persist", "machine.features.rbac", "machine.features.stableHostname", "machine.features.apidCheckExtKeyUsage",
	"machine.features.diskQuotaSupport", "machine.install.image", "machine.install.bootloader", "cluster.apiServer.disablePodSecurityPolicy",
	"machine.features.hostDNS",
}

// TestEveryFieldHasAnEffectOrIsTold: each kind of document and each field of the larger sections is read by a daemon, or stands in
// the table of what has no effect.
func TestEveryFieldHasAnEffectOrIsTold(t *testing.T) {
	told := strings.Join(config.IdlePlaces(), " ")
	source := daemons(t)

	check := func(place string, needles ...string) {
		read := slices.ContainsFunc(needles, func(s string) bool { return strings.Contains(source, s) })

		if !read && !strings.Contains(told, place) && !slices.Contains(indifferent, place) {
			t.Errorf("%s: no daemon reads it, and nobody is told so: it belongs into the table of effects.go", place)
		}
	}

	for _, kind := range config.Kinds() {
		check(kind, "config."+kind)
	}

	for section, schema := range map[string]reflect.Type{
		"": reflect.TypeFor[config.V1Alpha1](), "machine.": reflect.TypeFor[config.MachineConfig](), "cluster.": reflect.TypeFor[config.ClusterConfig](),
		"machine.network.": reflect.TypeFor[config.NetworkConfig](), "machine.network.interfaces[].": reflect.TypeFor[config.Device](),
		"machine.install.": reflect.TypeFor[config.InstallConfig](), "machine.features.": reflect.TypeFor[config.FeaturesConfig](),
		"cluster.apiServer.": reflect.TypeFor[config.APIServerConfig](), "cluster.etcd.": reflect.TypeFor[config.EtcdConfig](),
		"cluster.network.": reflect.TypeFor[config.ClusterNetworkConfig](), "machine.time.": reflect.TypeFor[config.TimeConfig](),
	} {
		for i := range schema.NumField() {
			f := schema.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			check(section+name, "."+f.Name, `yaml:"`+name)
		}
	}
}

// TestIdlePlacesExist: a place that no configuration can have would never be told.
func TestIdlePlacesExist(t *testing.T) {
	for _, place := range config.IdlePlaces() {
		if slices.Contains(config.Kinds(), place) {
			continue
		}

		at := reflect.TypeFor[config.V1Alpha1]()
		for key := range strings.SplitSeq(place, ".") {
			name, list := strings.CutSuffix(key, "[]")

			if at, _ = tree.Child(at, name); at != nil && list {
				at = at.Elem()
			}
		}

		if at == nil {
			t.Errorf("%s: no such field", place)
		}
	}
}

// daemons is the source of every daemon but configd, whose rules name all fields, and the kit.
func daemons(t *testing.T) string {
	t.Helper()

	var all strings.Builder

	err := filepath.WalkDir("../../services", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"configd", "kit", "testdata"}, d.Name()):
			return fs.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}

		data, err := os.ReadFile(path)
		all.Write(data)

		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	return all.String()
}

// TestIdle: what is told is what is asked for, and was not before.
func TestIdle(t *testing.T) {
	const document = "---\napiVersion: v1alpha1\nkind: "

	parse := func(text string) config.Tree {
		docs, err := config.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}

		return docs
	}

	for _, c := range []struct{ name, before, after, want string }{
		{"nothing", "", "machine: {type: worker, network: {hostname: a, interfaces: [{interface: eth0, dhcp: true}]}}", ""},
		{"switched off", "", "debug: false\nmachine: {kubelet: {}, network: {kubespan: {enabled: false, filters: {}}, interfaces: [{dummy: false, vlans: []}]}}", ""},
		{"links", "", "machine: {network: {interfaces: [{interface: eth0}, {interface: d0, dummy: true}, {interface: b0, bridge: {interfaces: [eth1]}}]}}",
			"accepted, without effect until networkd makes links of this kind: machine.network.interfaces[].bridge, machine.network.interfaces[].dummy"},
		{"two reasons", "", "machine: {env: {A: b}}\n" + document + "NetworkRuleConfig\nname: a\n" + document + "NetworkRuleConfig\nname: b\n",
			"accepted, without effect until the firewall is there: nothing is blocked: NetworkRuleConfig\naccepted, without effect until the machine's files are written: machine.env"},
		{"as before", "machine: {env: {A: b}, files: [{path: /a}]}", "machine: {files: [{path: /a}], env: {A: c}}",
			"accepted, without effect until the machine's files are written: machine.env"},
		{"less than before", "machine: {env: {A: b}}", "machine: {}", ""},
		{"in a container", "", "machine: {type: worker}\n" + document + "VolumeConfig\nname: EPHEMERAL\n",
			"accepted, without effect in a container, which has no disks of its own: VolumeConfig"},
	} {
		if got := strings.Join(config.Idle(parse(c.before), parse(c.after), config.Container), "\n"); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}

	if got := config.Idle(config.Tree{}, parse("apiVersion: v1alpha1\nkind: VolumeConfig\nname: EPHEMERAL\n"), config.Metal); got != nil {
		t.Errorf("on a machine: %q", got)
	}
}
