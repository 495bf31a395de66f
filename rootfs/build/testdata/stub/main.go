// Command stub stands for init in the test of stage1: it prints what it found and ends the virtual machine.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Println("stub: not PID 1")
		os.Exit(1)
	}

	fmt.Printf("stub: args %q custom %q\n", os.Args, os.Getenv("custom"))

	err := os.WriteFile("/written", nil, 0o644)
	fmt.Printf("stub: write to the root: %v\n", err)

	for _, path := range []string{"/dev/null", "/proc/1", "/sys/kernel", "/usr/lib/modules/list"} {
		_, err := os.Stat(path)
		fmt.Printf("stub: %s: %v\n", path, err)
	}

	mounts, _ := os.ReadFile("/proc/mounts")
	fmt.Printf("stub: mounts\n%sstub: end\n", mounts)

	// 4321fedc: CMD_POWER_OFF. A test's PID 1 has nothing to sync.
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("stub: power off:", err)
	}
}
