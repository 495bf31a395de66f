package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestTables prints rows of every table that has arithmetic in it.
func TestTables(t *testing.T) {
	var out bytes.Buffer
	print := func(rows func(*table), header ...string) {
		tab := newTable(&out, header...)
		rows(tab)
		if err := tab.flush(); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n")
	}
	print(func(tab *table) {
		memoryRow(tab, "10.0.0.1", &machine.Memory{Meminfo: &machine.MemInfo{Memtotal: 2097152, Memfree: 1048576, Memavailable: 1572864, Buffers: 1024, Cached: 204800, Shmem: 2048, Sreclaimable: 10240}})
		memoryRow(tab, "10.0.0.2", &machine.Memory{})
	}, "NODE", "TOTAL", "USED", "FREE", "SHARED", "BUFFERS", "CACHE", "AVAILABLE")
	print(func(tab *table) {
		mountRows(tab, "10.0.0.1", &machine.Mounts{Stats: []*machine.MountStat{
			{Filesystem: "/dev/vda6", Size: 6e9, Available: 4.5e9, MountedOn: "/var"}, {Filesystem: "proc", MountedOn: "/proc"}, {Filesystem: "odd", Size: 1, Available: 2, MountedOn: "/odd"},
		}})
	}, "NODE", "FILESYSTEM", "SIZE(GB)", "USED(GB)", "AVAILABLE(GB)", "PERCENT USED", "MOUNTED ON")
	print(func(tab *table) {
		statRows(tab, "10.0.0.1", &machine.Stats{Stats: []*machine.Stat{{Namespace: "system", Id: "networkd", MemoryUsage: 9437184, CpuUsage: 1234}, {Namespace: "system", Id: "configd", MemoryUsage: 1}}})
	}, "NODE", "NAMESPACE", "ID", "MEMORY(MB)", "CPU")
	processes := &machine.Process{Processes: []*machine.ProcessInfo{
		{Pid: 2, State: "S", Command: "kthreadd"},
		{Pid: 1, State: "S", Threads: 8, CpuTime: 1.5, VirtualMemory: 1.2e9, ResidentMemory: 21e6, Executable: "/usr/bin/init", Args: "/usr/bin/init --a\nb"},
		{Pid: 31, State: "R", Threads: 1, Executable: "/tmp/odd", Args: "odd\x1b]0;root\x07\u009b2J\u202e"},
		{Pid: 30, State: "R", Threads: 1, CpuTime: 9, ResidentMemory: 999, Executable: "/usr/bin/x"},
	}}
	for _, by := range []string{"rss", "cpu"} {
		print(func(tab *table) { processRows(tab, "10.0.0.1", processes, by) }, "NODE", "PID", "STATE", "THREADS", "CPU-TIME", "VIRTMEM", "RESMEM", "LABEL", "COMMAND")
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	for _, human := range []bool{false, true} {
		print(func(tab *table) {
			for _, f := range []*machine.FileInfo{
				{Name: "/etc", RelativeName: ".", Mode: uint32(fs.ModeDir | 0o755), Size: 4096, Modified: now.Add(-time.Hour).Unix(), IsDir: true},
				{Name: "/etc/odd", RelativeName: "odd\x1b[2J\r\n\x7f", Mode: 0o644, Modified: now.Unix()},
				{Name: "/etc/resolv.conf", RelativeName: "resolv.conf", Mode: uint32(fs.ModeSymlink | 0o777), Link: "/run/resolv.conf", Size: 16, Modified: now.Unix(), Uid: 50},
			} {
				if err := fileRow(tab, "10.0.0.1", f, true, human, now); err != nil {
					t.Fatal(err)
				}
			}
		}, listHeader(true)...)
	}
	kittest.Golden(t, "tables.txt", out.Bytes())
	err := fileRow(newTable(&out), "10.0.0.1", &machine.FileInfo{Name: "/x", Error: "permission denied"}, false, false, now)
	if err == nil || err.Error() != "10.0.0.1: /x: permission denied" {
		t.Error(err)
	}
}

func TestHumanBytes(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 20631552: "21 MB", 6e6: "6.0 MB", 999999: "1.0 MB", 2e12: "2.0 TB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestDescribeEvents(t *testing.T) {
	for want, payload := range map[string]*anypb.Any{
		"SequenceEvent|boot|start": anyOf(t, &machine.SequenceEvent{Sequence: "boot", Action: machine.SequenceEvent_START}),
		"MachineStatusEvent||stage running, ready false, unmet: time: not synced": anyOf(t, &machine.MachineStatusEvent{
			Stage: machine.MachineStatusEvent_RUNNING, Status: &machine.MachineStatusEvent_MachineStatus{
				UnmetConditions: []*machine.MachineStatusEvent_MachineStatus_UnmetCondition{{Name: "time", Reason: "not synced"}},
			},
		}),
		"AddressEvent|first|addresses: 10.5.0.2, fd00::2": anyOf(t, &machine.AddressEvent{Hostname: "first", Addresses: []string{"10.5.0.2", "fd00::2"}}),
	} {
		name, source, message := describeEvent(&machine.Event{Data: payload})
		if got := strings.Join([]string{name, source, message}, "|"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if _, _, message := describeEvent(&machine.Event{}); message != "an event without content" {
		t.Error(message)
	}
}

func anyOf(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	a.TypeUrl = "talos/runtime/" + a.TypeUrl[strings.LastIndexByte(a.TypeUrl, '/')+1:]

	return a
}

func TestAddressesOfMembers(t *testing.T) {
	controlPlanes, workers := addressesOf([]member{
		{addresses: []string{"10.2.2.2", "10.5.0.2"}}, {addresses: []string{"10.2.2.2", "10.5.0.3"}}, {worker: true, addresses: []string{"10.2.2.2", "10.5.0.5"}}, {},
	})
	if strings.Join(controlPlanes, " ") != "10.5.0.2 10.5.0.3" || strings.Join(workers, " ") != "10.5.0.5" {
		t.Errorf("%v %v", controlPlanes, workers)
	}
}

func TestLaterRowsKeepTheWidths(t *testing.T) {
	var out strings.Builder
	tab := newTable(&out, "NODE", "NAME", "X")
	tab.row("10.0.0.1", "a", "1")
	tab.flush()
	tab.row("n", "b", "2")
	tab.flush()
	if want := "NODE       NAME   X\n10.0.0.1   a      1\nn          b      2\n"; out.String() != want {
		t.Errorf("%s, want %s", out.String(), want)
	}
}

func TestWildcard(t *testing.T) {
	for pattern, names := range map[string]string{"a": "a", "a*": "a ab a-1", "*b": "b ab", "a*c*": "ac abcd", "*": "x"} {
		for name := range strings.FieldsSeq(names) {
			if !wildcard(pattern, name) {
				t.Errorf("%s does not match %s", pattern, name)
			}
		}
	}
	if wildcard("a*c", "ab") || wildcard("a", "ab") {
		t.Error("too much matches")
	}
}

// TestExtractStaysInside unpacks an archive whose names try to lead out.
func TestExtractStaysInside(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	for name, content := range map[string]string{"dir/file": "one", "../outside": "two", "/abs": "three"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o640, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	z.Close()
	parent := t.TempDir()
	into := filepath.Join(parent, "into")
	if err := extract(&packed, into); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"dir/file": "one", "outside": "two", "abs": "three"} {
		if got, err := os.ReadFile(filepath.Join(into, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", path, got, err)
		}
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
		t.Errorf("something was written outside: %v %v", entries, err)
	}
	if err := extract(strings.NewReader("not an archive"), into); err == nil {
		t.Error("no error")
	}
}

// TestWayDown: each step is told as it begins, with the word that goes on while nothing else is known.
func TestWayDown(t *testing.T) {
	var told []string
	w := way{tell: func(doing string) { told = append(told, doing) }}
	if w.doing() != "going down" {
		t.Error(w.doing())
	}
	for _, payload := range []proto.Message{
		&machine.SequenceEvent{Sequence: "shutdown"}, &machine.PhaseEvent{Phase: "stopEverything", Action: machine.PhaseEvent_START},
		&machine.TaskEvent{Task: "stopAllServices", Action: machine.TaskEvent_START}, &machine.TaskEvent{Task: "stopAllServices", Action: machine.TaskEvent_STOP},
	} {
		w.note(&machine.Event{Data: anyOf(t, payload)})
	}
	if got := strings.Join(told, ", "); got != "going down: stopEverything, going down: stopAllServices" || w.doing() != "going down: stopAllServices" {
		t.Errorf("told %s, doing %s", got, w.doing())
	}
}
