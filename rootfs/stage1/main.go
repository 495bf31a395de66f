// Command stage1 is the first program of the initramfs: it mounts the root image and becomes init in it. It runs nowhere
// else: without being PID 1 on the kernel's first file system it ends at once.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := refuse(os.Getpid()); err != nil {
		fmt.Fprintln(os.Stderr, "stage1:", err)
		os.Exit(1)
	}

	// Only an error comes back: otherwise this process is init now.
	giveUp(boot(os.Args[1:], os.Environ()))
}
