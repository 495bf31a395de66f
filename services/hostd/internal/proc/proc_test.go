package proc_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/hostd/internal/proc"
)

const kernel = proc.FS("/proc")

func TestMemoryAgreesWithTheKernel(t *testing.T) {
	info, err := kernel.Memory()
	if err != nil {
		t.Fatal(err)
	}

	out, err := exec.Command("awk", "/^MemTotal|^SwapTotal|^Hugepagesize|^CommitLimit/ {print $2}", "/proc/meminfo").Output()
	if err != nil {
		t.Fatal(err)
	}

	want := strings.Fields(string(out))
	got := []uint64{info.GetMemtotal(), info.GetSwaptotal(), info.GetCommitlimit(), info.GetHugepagesize()}

	for i := range want {
		if i < len(got) && want[i] != strconv.FormatUint(got[i], 10) {
			t.Errorf("figure %d: got %d, the kernel says %s", i, got[i], want[i])
		}
	}

	if info.GetMemavailable() == 0 || info.GetActiveanon()+info.GetInactiveanon() == 0 || info.GetDirectmap4K() == 0 {
		t.Errorf("figures are missing: %v", info)
	}
}

func TestProcessesAgreeWithPs(t *testing.T) {
	list, err := kernel.Processes()
	if err != nil {
		t.Fatal(err)
	}

	byPID := map[int32]*machine.ProcessInfo{}
	for _, p := range list {
		byPID[p.GetPid()] = p
	}

	out, err := exec.Command("ps", "-o", "pid=,ppid=,comm=,args=", "-p", strconv.Itoa(os.Getpid())).Output()
	if err != nil {
		t.Fatal(err)
	}

	f := strings.Fields(string(out))
	me := byPID[int32(os.Getpid())]

	if me == nil || strconv.Itoa(int(me.GetPpid())) != f[1] || me.GetCommand() != f[2] || me.GetArgs() != strings.Join(f[3:], " ") {
		t.Errorf("got %v, ps says %q", me, out)
	}

	if exe, _ := os.Executable(); me.GetExecutable() != exe {
		t.Errorf("executable %s, want %s", me.GetExecutable(), exe)
	}

	if me.GetThreads() < 2 || me.GetResidentMemory() < 1<<20 || me.GetVirtualMemory() < me.GetResidentMemory() || me.GetState() == "" {
		t.Errorf("figures: %v", me)
	}
}

func TestSystem(t *testing.T) {
	stat, err := kernel.SystemStat()
	if err != nil {
		t.Fatal(err)
	}

	cpus, err := kernel.CPUInfo()
	if err != nil {
		t.Fatal(err)
	}

	out, _ := exec.Command("nproc", "--all").Output()
	if count := strings.TrimSpace(string(out)); strconv.Itoa(len(stat.GetCpu())) != count || strconv.Itoa(len(cpus)) != count {
		t.Errorf("%d and %d processors, nproc says %s", len(stat.GetCpu()), len(cpus), count)
	}

	if stat.GetBootTime() == 0 || stat.GetContextSwitches() == 0 || stat.GetCpuTotal().GetUser() == 0 || stat.GetIrqTotal() == 0 || stat.GetSoftIrqTotal() == 0 {
		t.Errorf("figures: %v", stat)
	}

	if c := cpus[0]; c.GetModelName() == "" && c.GetVendorId() == "" || len(c.GetFlags()) == 0 || c.GetBogoMips() == 0 {
		t.Errorf("processor: %v", c)
	}

	if load, err := kernel.LoadAvg(); err != nil || load.GetLoad1() < 0 {
		t.Errorf("load: %v %v", load, err)
	}
}

func TestDisksAndMounts(t *testing.T) {
	stats, err := kernel.DiskStats()
	if err != nil {
		t.Fatal(err)
	}

	var reads uint64
	for _, d := range stats.GetDevices() {
		reads += d.GetReadCompleted()
	}

	if reads != stats.GetTotal().GetReadCompleted() || reads == 0 {
		t.Errorf("sum of reads is %d, the devices have %d", stats.GetTotal().GetReadCompleted(), reads)
	}

	mounts, err := kernel.Mounts("/")
	if err != nil {
		t.Fatal(err)
	}

	out, err := exec.Command("df", "-B1", "--output=size", "/").Output()
	if err != nil {
		t.Fatal(err)
	}

	for _, m := range mounts {
		if m.GetMountedOn() == "/" && strconv.FormatUint(m.GetSize(), 10) == strings.Fields(string(out))[1] {
			return
		}
	}

	t.Errorf("no mount on / with the size that df says: %s %v", out, mounts)
}
