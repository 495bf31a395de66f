// Command volatile is QEMU with disks that have a volatile write cache, as real ones do: what the guest wrote and did not
// flush is in this process only, so kill -9 is an honest power cut, where QEMU alone leaves every write in the page cache
// of the host. Put it before QEMU in PATH under QEMU's name:
//
//	go build -o DIR/qemu-system-x86_64 ./tools/vm/volatile && PATH=DIR:$PATH dactylctl cluster create --provisioner qemu
package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("volatile: ")

	code, err := run(os.Args)
	if err != nil {
		log.Print(err)
	}

	os.Exit(code)
}

// run runs QEMU to its end and gives its exit code. With this process everything unwritten and QEMU itself end.
func run(args []string) (int, error) {
	program, err := next(filepath.Base(args[0]))
	if err != nil {
		return 1, err
	}

	// The kernel watches the thread that started QEMU.
	runtime.LockOSThread()

	cmd := exec.Command(program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	var disks []*disk

	for _, arg := range args[1:] {
		if path, ok := image(arg); ok {
			d, end, err := plug(path)
			if err != nil {
				return 1, err
			}

			cmd.ExtraFiles, disks = append(cmd.ExtraFiles, end), append(disks, d)
			arg = strings.Replace(arg, "file="+path, fmt.Sprintf("file.driver=nbd,file.server.type=fd,file.server.str=%d", 2+len(cmd.ExtraFiles)), 1)
		}

		cmd.Args = append(cmd.Args, arg)
	}

	err = cmd.Run()

	// The machine ended, not its power: a disk then writes what it has.
	for _, d := range disks {
		err = errors.Join(err, d.flush())
	}

	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}

	return 0, err
}

// next finds the program behind this one in PATH.
func next(name string) (string, error) {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("find own program: %w", err)
	}

	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !os.SameFile(self, info) {
			return path, nil
		}
	}

	return "", fmt.Errorf("find %s behind %s in PATH: %w", name, os.Args[0], exec.ErrNotFound)
}

// image gives the file of a -drive that is a disk.
func image(arg string) (string, bool) {
	if !strings.HasPrefix(arg, "if=none,format=raw,cache=") {
		return "", false
	}

	_, path, found := strings.Cut(arg, ",file=")

	return path, found
}

// plug serves the disk on one end of a pair of sockets and gives the other.
func plug(path string) (*disk, *os.File, error) {
	d, err := openDisk(path)
	if err != nil {
		return nil, nil, err
	}

	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}

	ours := os.NewFile(uintptr(pair[0]), "disk")
	defer ours.Close()

	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, fmt.Errorf("use socket: %w", err)
	}

	go d.writeBehind()
	go func() {
		if err := serve(conn, d); err != nil {
			log.Printf("serve %s: %v", path, err)
		}
	}()

	return d, os.NewFile(uintptr(pair[1]), "qemu"), nil
}
