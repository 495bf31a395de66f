// Package footprint gives back memory that only the start needed.
package footprint

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Release returns freed heap to the system and unmaps the program's own text and read-only data: half of what is mapped
// after the start are initializers and tables that are not used again. What is used comes back from the page cache.
func Release() error {
	debug.FreeOSMemory()

	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("release program text: %w", err)
	}
	defer maps.Close()

	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("release program text: %w", err)
	}

	for scan := bufio.NewScanner(maps); scan.Scan(); {
		from, size, ok := readOnly(scan.Text(), exe)
		if !ok {
			continue
		}

		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, size, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("release program text: %w", errno)
		}
	}

	return nil
}

// readOnly finds the mappings of the program that are never written: dropping a page of them loses nothing.
func readOnly(line, exe string) (from, size uintptr, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || f[5] != exe || f[1] != "r-xp" && f[1] != "r--p" {
		return 0, 0, false
	}

	low, high, _ := strings.Cut(f[0], "-")
	start, err1 := strconv.ParseUint(low, 16, 64)
	end, err2 := strconv.ParseUint(high, 16, 64)

	return uintptr(start), uintptr(end - start), err1 == nil && err2 == nil && end > start
}
