package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryUsage is what a daemon's group holds in bytes; false when nothing counts it.
func (c *Cgroups) memoryUsage(name string) (uint64, bool) {
	if c == nil || !c.memory {
		return 0, false
	}

	data, err := os.ReadFile(filepath.Join(c.root, name, "memory.current"))
	if err != nil {
		return 0, false
	}

	value, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)

	return value, err == nil
}

// oomKills counts how often the kernel has ended something in a daemon's group for want of memory, in this boot. Version 1 of
// the memory controller has the same line in a file of another name.
func (c *Cgroups) oomKills(name string) uint64 {
	if c == nil {
		return 0
	}

	for _, file := range []string{"memory.events", "memory.oom_control"} {
		if data, err := os.ReadFile(filepath.Join(c.root, name, file)); err == nil {
			return oomKillsIn(string(data))
		}
	}

	return 0
}

func oomKillsIn(text string) uint64 {
	for line := range strings.Lines(text) {
		if number, found := strings.CutPrefix(line, "oom_kill "); found {
			count, _ := strconv.ParseUint(strings.TrimSpace(number), 10, 64)

			return count
		}
	}

	return 0
}

// outOfMemory is the phrase about such an end.
func outOfMemory(limit int64) string {
	if limit == 0 {
		return "killed by the kernel: out of memory"
	}

	return fmt.Sprintf("killed by the kernel: out of memory, limit %d MiB", limit>>20)
}
