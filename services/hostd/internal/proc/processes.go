package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/proto/machine"
)

// Processes lists the processes of the node; those that end meanwhile are left out.
func (fs FS) Processes() ([]*machine.ProcessInfo, error) {
	entries, err := os.ReadDir(string(fs))
	if err != nil {
		return nil, err
	}

	var out []*machine.ProcessInfo

	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}

		if p, err := fs.process(pid); err == nil {
			out = append(out, p)
		}
	}

	return out, nil
}

func (fs FS) process(pid int) (*machine.ProcessInfo, error) {
	dir := strconv.Itoa(pid)

	stat, err := fs.read(dir, "stat")
	if err != nil {
		return nil, err
	}

	p, err := parseStat(string(stat))
	if err != nil {
		return nil, err
	}

	// Kernel threads have neither; of another user's process they may not be readable.
	if args, err := fs.read(dir, "cmdline"); err == nil {
		p.Args = string(bytes.TrimSpace(bytes.ReplaceAll(args, []byte{0}, []byte{' '})))
	}

	if exe, err := os.Readlink(filepath.Join(string(fs), dir, "exe")); err == nil {
		p.Executable = exe
	}

	if label, err := fs.read(dir, "attr", "current"); err == nil {
		p.Label = strings.TrimRight(string(label), "\x00\n")
	}

	return p, nil
}

// parseStat reads /proc/PID/stat, proc_pid_stat(5). The command is in parentheses and may have any character in it.
func parseStat(text string) (*machine.ProcessInfo, error) {
	open, shut := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 1 || shut < open {
		return nil, fmt.Errorf("parse process stat %q", text)
	}

	pid, err := strconv.ParseInt(strings.TrimSpace(text[:open]), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("parse process stat: %w", err)
	}

	// f[0] is field 3 of the manual page.
	f := strings.Fields(text[shut+1:])
	if len(f) < 22 {
		return nil, fmt.Errorf("parse process stat of %d: %d fields", pid, len(f))
	}

	number := func(field int) uint64 {
		n, _ := strconv.ParseUint(f[field-3], 10, 64)

		return n
	}

	return &machine.ProcessInfo{
		Pid: int32(pid), Command: text[open+1 : shut], State: f[0], Ppid: int32(number(4)), Threads: int32(number(20)),
		CpuTime:       float64(number(14)+number(15)) / ticks,
		VirtualMemory: number(23), ResidentMemory: number(24) * uint64(os.Getpagesize()),
	}, nil
}
