// Package proc reads what the kernel tells about the machine in /proc, each file once and into the API's own messages.
package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dactyl-os/dactyl/proto/machine"
)

// ticks a second, in which the kernel counts processor time; the same on every architecture that Linux still runs on.
const ticks = 100

// FS is a mounted /proc.
type FS string

func (fs FS) read(elem ...string) ([]byte, error) {
	return os.ReadFile(filepath.Join(append([]string{string(fs)}, elem...)...))
}

// Memory is /proc/meminfo, in kB as the kernel has it.
func (fs FS) Memory() (*machine.MemInfo, error) {
	data, err := fs.read("meminfo")
	if err != nil {
		return nil, err
	}

	out := &machine.MemInfo{}
	message := out.ProtoReflect()
	fields := message.Descriptor().Fields()
	// The API's names are the kernel's in small letters: Active(anon), HugePages_Total.
	plain := strings.NewReplacer("(", "", ")", "", "_", "")

	for line := range strings.Lines(string(data)) {
		name, rest, ok := strings.Cut(line, ":")
		words := strings.Fields(rest)

		if !ok || len(words) == 0 {
			continue
		}

		field := fields.ByName(protoreflect.Name(strings.ToLower(plain.Replace(name))))
		if field == nil {
			continue // newer kernels have more
		}

		value, err := strconv.ParseUint(words[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("parse meminfo: %w", err)
		}

		message.Set(field, protoreflect.ValueOfUint64(value))
	}

	return out, nil
}

// LoadAvg is /proc/loadavg.
func (fs FS) LoadAvg() (*machine.LoadAvg, error) {
	data, err := fs.read("loadavg")
	if err != nil {
		return nil, err
	}

	out := &machine.LoadAvg{}
	if _, err = fmt.Sscan(string(data), &out.Load1, &out.Load5, &out.Load15); err != nil {
		return nil, fmt.Errorf("parse loadavg: %w", err)
	}

	return out, nil
}

// SystemStat is /proc/stat; processor times are in seconds.
func (fs FS) SystemStat() (*machine.SystemStat, error) {
	data, err := fs.read("stat")
	if err != nil {
		return nil, err
	}

	out := &machine.SystemStat{CpuTotal: &machine.CPUStat{}, SoftIrq: &machine.SoftIRQStat{}}

	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}

		values, err := numbers(words[1:])
		if err != nil {
			return nil, fmt.Errorf("parse stat: %w", err)
		}

		systemStatLine(out, words[0], values)
	}

	return out, nil
}

func systemStatLine(out *machine.SystemStat, name string, values []uint64) {
	switch name {
	case "cpu":
		out.CpuTotal = cpuStat(values)
	case "btime":
		out.BootTime = values[0]
	case "ctxt":
		out.ContextSwitches = values[0]
	case "processes":
		out.ProcessCreated = values[0]
	case "procs_running":
		out.ProcessRunning = values[0]
	case "procs_blocked":
		out.ProcessBlocked = values[0]
	case "intr":
		out.IrqTotal, out.Irq = values[0], values[1:]
	case "softirq":
		out.SoftIrqTotal = values[0]
		v := padded(values, 11)
		out.SoftIrq = &machine.SoftIRQStat{
			Hi: v[1], Timer: v[2], NetTx: v[3], NetRx: v[4], Block: v[5], BlockIoPoll: v[6], Tasklet: v[7], Sched: v[8],
			Hrtimer: v[9], Rcu: v[10],
		}
	default:
		if strings.HasPrefix(name, "cpu") {
			out.Cpu = append(out.Cpu, cpuStat(values))
		}
	}
}

func cpuStat(values []uint64) *machine.CPUStat {
	v := padded(values, 10)
	seconds := func(i int) float64 { return float64(v[i]) / ticks }

	return &machine.CPUStat{
		User: seconds(0), Nice: seconds(1), System: seconds(2), Idle: seconds(3), Iowait: seconds(4), Irq: seconds(5),
		SoftIrq: seconds(6), Steal: seconds(7), Guest: seconds(8), GuestNice: seconds(9),
	}
}

// DiskStats is /proc/diskstats and its sum, in which partitions and stacked devices count too, as the reference has it.
func (fs FS) DiskStats() (*machine.DiskStats, error) {
	data, err := fs.read("diskstats")
	if err != nil {
		return nil, err
	}

	out := &machine.DiskStats{Total: &machine.DiskStat{}}

	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 14 {
			continue
		}

		values, err := numbers(words[3:])
		if err != nil {
			return nil, fmt.Errorf("parse diskstats: %w", err)
		}

		disk := diskStat(words[2], padded(values, 15))
		out.Devices = append(out.Devices, disk)
		addDisk(out.Total, disk)
	}

	return out, nil
}

func diskStat(name string, v []uint64) *machine.DiskStat {
	return &machine.DiskStat{
		Name: name, ReadCompleted: v[0], ReadMerged: v[1], ReadSectors: v[2], ReadTimeMs: v[3],
		WriteCompleted: v[4], WriteMerged: v[5], WriteSectors: v[6], WriteTimeMs: v[7],
		IoInProgress: v[8], IoTimeMs: v[9], IoTimeWeightedMs: v[10],
		DiscardCompleted: v[11], DiscardMerged: v[12], DiscardSectors: v[13], DiscardTimeMs: v[14],
	}
}

func addDisk(total, disk *machine.DiskStat) {
	sum := total.ProtoReflect()

	disk.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Kind() == protoreflect.Uint64Kind {
			sum.Set(field, protoreflect.ValueOfUint64(sum.Get(field).Uint()+value.Uint()))
		}

		return true
	})
}

// Mounts is /proc/mounts with the space of each file system. Those that do not answer have none.
func (fs FS) Mounts(root string) ([]*machine.MountStat, error) {
	data, err := fs.read("self", "mounts")
	if err != nil {
		return nil, err
	}

	var out []*machine.MountStat

	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}

		mount := &machine.MountStat{Filesystem: unescape(words[0]), MountedOn: unescape(words[1])}

		var stat syscall.Statfs_t
		if syscall.Statfs(filepath.Join(root, mount.GetMountedOn()), &stat) == nil {
			mount.Size = stat.Blocks * uint64(stat.Bsize)      //nolint:gosec // block sizes are positive
			mount.Available = stat.Bavail * uint64(stat.Bsize) //nolint:gosec // as above
		}

		out = append(out, mount)
	}

	return out, nil
}

// unescape undoes the kernel's octal escapes of blanks.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

func numbers(words []string) ([]uint64, error) {
	out := make([]uint64, len(words))

	for i, w := range words {
		var err error
		if out[i], err = strconv.ParseUint(w, 10, 64); err != nil {
			return nil, err
		}
	}

	return out, nil
}

// padded makes up for fields that older kernels do not have.
func padded(v []uint64, size int) []uint64 {
	for len(v) < size {
		v = append(v, 0)
	}

	return v
}

func lines(data []byte) *bufio.Scanner {
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, 1<<20) // flags of a processor make long lines

	return s
}
