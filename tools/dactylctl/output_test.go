package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestOutput compares what commands print with golden files.
func TestOutput(t *testing.T) {
	start(t, &fake{logs: [][]string{{"one\ntw", "o\n"}}})
	for name, commands := range map[string][][]string{
		"version":  {{"-n", "10.0.0.1", "version"}, {"-n", "10.0.0.1,10.0.0.2", "version", "--short"}, {"version", "--short"}, {"-n", "10.0.0.1,10.0.0.2", "version", "--daemons"}, {"version", "--daemons", "--short"}},
		"services": {{"-n", "10.0.0.1,10.0.0.2", "services"}, {"-n", "10.0.0.1", "service", "etcd"}, {"service", "networkd"}, {"service", "etcd", "restart"}, {"service", "nothing"}},
		"get": {
			{"-n", "10.0.0.1,10.0.0.2", "get", "links"}, {"get", "nodeaddress"}, {"get", "machinetype"},
			{"get", "links", "eth0", "-o", "jsonpath={.spec.hardwareAddr} {.metadata.id}"}, {"get", "mc", "-o", "jsonpath={.spec}"},
			{"get", "nothing"}, {"get", "lin"}, {"get", "as"}, {"get", "links", "eth9"}, {"get", "links", "-o", "xml"},
		},
		"etcd": {
			{"-n", "10.0.0.1", "etcd", "status"}, {"etcd", "remove-member", "xyz"}, {"-n", "10.0.0.1,10.0.0.2", "etcd", "defrag"},
			{"-n", "10.0.0.1", "bootstrap", "--recover-from", "testdata/etcd.txt"}, {"-n", "10.0.0.1", "bootstrap", "--recover-skip-hash-check"},
			{"-n", "10.0.0.1", "bootstrap", "--recover-from", "testdata/etcd.txt", "--recover-skip-hash-check"},
		},
		"logs":  {{"logs"}, {"__complete", "logs", ""}, {"logs", "etcd"}, {"-n", "10.0.0.1,10.0.0.2", "logs", "etcd"}},
		"disks": {{"-n", "10.0.0.1,10.0.0.9", "disks"}, {"-n", "10.0.0.1", "disks", "-o", "yaml"}, {"disks", "-o", "json"}, {"disks", "-o", "xml"}},
		"reset": {
			{"-n", "10.0.0.1", "reset", "--wait=false"}, {"reset", "--wait=false", "--system-labels-to-wipe=EPHEMERAL,BOOTX"},
			{"reset", "--wipe-mode", "everything"}, {"reset", "--wipe-mode=user-disks"}, {"reset", "--wipe-mode=user-disks", "--system-labels-to-wipe=STATE"},
			{"reset", "--wipe-mode=system-disk", "--user-disks-to-wipe=/dev/vdb,/dev/vdc"}, {"reset", "now"},
			{"__complete", "reset", "--wipe-mode", ""}, {"__complete", "reset", "--user-disks-to-wipe", ""},
		},
		"inspect": {{"-n", "10.0.0.1", "inspect", "dependencies"}, {"inspect", "dependencies", "--with-resources"}},
		"restart": {{"-n", "10.0.0.1,10.0.0.2", "restart", "networkd"}, {"restart", "nosuch"}, {"restart", "-k", "kube-system/x"}, {"__complete", "restart", ""}},
		"netstat": {{"-n", "10.0.0.1,10.0.0.2", "netstat"}, {"netstat", "-laxpo"}, {"netstat", "-l", "-p", "-t", "-4"}, {"netstat", "-pu6"}, {"netstat", "-vp"}},
		"pcap":    {{"-n", "10.0.0.1", "pcap"}, {"pcap", "-i", "eth9"}, {"pcap", "--bpf-filter", "port 53"}, {"-n", "10.0.0.1,10.0.0.2", "pcap"}},
		"reboot":  {{"-n", "10.0.0.1", "reboot"}, {"reboot", "--wait=false"}},
		"fanout":  {{"-n", "10.0.0.1,10.0.0.2,10.0.0.9,10.0.0.3", "version", "--short"}},
		"input":   {{"apply-config"}, {"patch", "mc"}, {"patch", "links", "-p", "{}"}, {"meta", "write", "0x100", "x"}, {"reboot", "-m", "soft"}, {"validate", "-c", "x"}, {"list", "-t", "x"}, {"processes", "-s", "size"}},
	} {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			for _, args := range commands {
				text.WriteString(stable(session(t, args...)) + "\n")
			}
			kittest.Golden(t, name+".txt", []byte(text.String()))
		})
	}
}

var changing = regexp.MustCompile(`created: \S+|updated: \S+|"(created|updated)": "[^"]*"|127\.0\.0\.1:\d+|v1\.8\.4\+dactyl\.dev`)

// stable replaces what differs from run to run.
func stable(text string) string { return changing.ReplaceAllString(text, "···") }

func TestGetYAMLAndJSON(t *testing.T) {
	start(t, &fake{})
	kittest.Golden(t, "get-yaml.txt", []byte(stable(session(t, "-n", "10.0.0.1,10.0.0.2", "get", "links", "eth0", "-o", "yaml")+session(t, "get", "mc", "-o", "yaml"))))
	kittest.Golden(t, "get-json.txt", []byte(stable(session(t, "get", "nodeaddress", "-o", "json"))))
}

func TestFollowedLogsResumeBehindTheLastLine(t *testing.T) {
	start(t, &fake{logs: [][]string{
		{"1 first\n2 second\n"},
		{"0 older\n1 first\n", "2 second\n3 third\n"},
		{"2 second\n3 third\n4 fourth\n"},
	}})
	want := "$ dactylctl logs etcd -f\n1 first\n2 second\n3 third\n4 fourth\n"
	if got := session(t, "logs", "etcd", "-f"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestEvents(t *testing.T) {
	start(t, &fake{})
	got := session(t, "-n", "10.0.0.1", "events")
	if !strings.Contains(got, "cdo4qgu1cv9e         ServiceStateEvent            boot       etcd               RUNNING: Started") {
		t.Error(got)
	}
}

func TestPatchAndEdit(t *testing.T) {
	f := &fake{}
	start(t, f)
	kittest.Golden(t, "patch.txt", []byte(session(t, "-n", "10.0.0.1", "patch", "mc", "-p", `{"machine": {"network": {"hostname": "second"}}}`, "-m", "try", "--timeout", "30s")))
	if len(f.applied) != 1 || !strings.Contains(string(f.applied[0].GetData()), `hostname: "second"`) ||
		f.applied[0].GetMode() != machine.ApplyConfigurationRequest_TRY || f.applied[0].GetTryModeTimeout().GetSeconds() != 30 {
		t.Errorf("applied %v", f.applied)
	}
	t.Setenv("EDITOR", "sed -i s/first/third/")
	session(t, "-n", "10.0.0.1", "edit", "mc")
	if last := f.applied[len(f.applied)-1]; len(f.applied) != 2 || !strings.Contains(string(last.GetData()), "hostname: third") || strings.HasPrefix(string(last.GetData()), "#") {
		t.Errorf("applied %v", f.applied)
	}
	t.Setenv("EDITOR", "true")
	if got := session(t, "edit", "mc"); !strings.Contains(got, "cancelled") || len(f.applied) != 2 {
		t.Error(got)
	}
	t.Setenv("EDITOR", "sed -i 's/^    type:/    tipe:/'")
	if got := session(t, "edit", "mc"); !strings.Contains(got, "nothing was applied") || len(f.applied) != 2 {
		t.Error(got)
	}
}

func TestResetSendsItsFlags(t *testing.T) {
	f := &fake{}
	start(t, f)
	session(t, "reset", "--wait=false")
	session(t, "reset", "--wait=false", "--graceful=false", "--reboot", "--system-labels-to-wipe=EPHEMERAL", "--user-disks-to-wipe=/dev/vdb,/dev/vdc")
	session(t, "reset", "--wait=false", "--wipe-mode=user-disks", "--user-disks-to-wipe", "/dev/vdb")
	var got strings.Builder
	for _, req := range f.resets {
		fmt.Fprintln(&got, req.GetGraceful(), req.GetReboot(), req.GetMode(), req.GetUserDisksToWipe(), len(req.GetSystemPartitionsToWipe()), req.GetSystemPartitionsToWipe())
	}
	want := "true false ALL [] 0 []\nfalse true ALL [/dev/vdb /dev/vdc] 1 [label:\"EPHEMERAL\" wipe:true]\ntrue false USER_DISKS [/dev/vdb] 0 []\n"
	if text := strings.ReplaceAll(got.String(), "  ", " "); text != want {
		t.Errorf("%s, want %s", text, want)
	}
}

func TestApply(t *testing.T) {
	f := &fake{}
	start(t, f)
	file := filepath.Join(t.TempDir(), "worker.yaml")
	if err := os.WriteFile(file, []byte(machineConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	got := session(t, "-n", "10.0.0.1,10.0.0.9", "apply-config", "-f", file, "--dry-run", "-p", "machine: {network: {hostname: other}}")
	kittest.Golden(t, "apply.txt", []byte(strings.ReplaceAll(got, file, "worker.yaml")))
	if len(f.applied) != 2 || !f.applied[0].GetDryRun() || !strings.Contains(string(f.applied[0].GetData()), "hostname: other") {
		t.Errorf("applied %v", f.applied)
	}
}

// TestConfigurationOfSeveralDocuments shows and patches all of them: the YAML form of a resource holds one.
func TestConfigurationOfSeveralDocuments(t *testing.T) {
	f := &fake{documents: "---\napiVersion: v1alpha1\nkind: KmsgLogConfig # where to\nname: far\nurl: tcp://10.0.0.9:5000\n"}
	start(t, f)
	got := session(t, "get", "mc", "-o", "yaml") + session(t, "get", "mc", "-o", "jsonpath={.spec}")
	kittest.Golden(t, "get-documents.txt", []byte(stable(got)))
	session(t, "-n", "10.0.0.1", "patch", "mc", "-p", `{"machine": {"network": {"hostname": "second"}}}`)
	if len(f.applied) != 1 || !strings.Contains(string(f.applied[0].GetData()), "kind: KmsgLogConfig # where to") {
		t.Errorf("applied %v", f.applied)
	}
}
