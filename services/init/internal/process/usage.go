package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// ticks a second in which /proc counts processor time: USER_HZ, 100 on every architecture that Go runs on.
const ticks = 100

// Usage is what a daemon has used.
type Usage struct {
	// Memory in bytes: what its cgroup counts, or else its resident set.
	Memory uint64
	// CPU is what its cgroup counts, or else its process.
	CPU time.Duration
}

// Usage tells what a daemon's process has used.
func (r *Runner) Usage(service string, pid int) (Usage, error) {
	stat, err := os.ReadFile(filepath.Join(r.root, "proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return Usage{}, fmt.Errorf("read usage: %w", err)
	}

	usage, err := parseStat(stat)
	if err != nil {
		return Usage{}, err
	}

	group := service
	if d := r.daemon(service); d != nil {
		group = groupOf(d.running())
	}

	if memory, counted := r.cgroups.memoryUsage(group); counted {
		usage.Memory = memory
	}

	if cpu, counted := r.cgroups.cpuUsage(group); counted {
		usage.CPU = cpu
	}

	return usage, nil
}

// parseStat reads utime, stime and rss of proc_pid_stat(5): fields 14, 15 and 24, counted from the one after the name in
// parentheses, which is field 3.
func parseStat(stat []byte) (Usage, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return Usage{}, fmt.Errorf("parse usage: %d fields", len(fields))
	}

	var numbers [3]uint64

	for i, field := range []int{14 - 3, 15 - 3, 24 - 3} {
		number, err := strconv.ParseUint(string(fields[field]), 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("parse usage: %w", err)
		}

		numbers[i] = number
	}

	return Usage{
		CPU:    time.Duration(numbers[0]+numbers[1]) * (time.Second / ticks),
		Memory: numbers[2] * uint64(os.Getpagesize()),
	}, nil
}
