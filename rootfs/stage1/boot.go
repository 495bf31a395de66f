package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/rootfs/internal/kmod"
)

const (
	newRoot  = "/root"
	initPath = "/usr/bin/init"
	// images has the root image as /rootfs.sqsh; below it are those that are mounted into it, each by its place:
	// /rootfs/usr/lib/modules.sqsh.
	images = "/rootfs"
	suffix = ".sqsh"
)

// refuse tells why this is not a booting machine's first program on its first file system.
func refuse(pid int) error {
	if pid != 1 {
		return errors.New("not PID 1: this is for a machine's initramfs only")
	}

	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		return fmt.Errorf("look at the root file system: %w", err)
	}

	if fs.Type != unix.RAMFS_MAGIC && fs.Type != unix.TMPFS_MAGIC {
		return errors.New("the root file system is not an initramfs")
	}

	return nil
}

// boot mounts the root image and runs init with the arguments that the kernel gave. It comes back with an error only.
func boot(args, env []string) error {
	steps := []struct {
		what string
		do   func() error
	}{
		{"mount the kernel's file systems", mountKernel},
		{"load modules", loadModules},
		{"mount the images", mountImages},
		{"move mounts into the root image", moveMounts},
		{"switch to the root image", switchRoot},
	}

	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}

	if err := unix.Exec(initPath, append([]string{initPath}, args...), env); err != nil {
		return fmt.Errorf("run %s: %w", initPath, err)
	}

	return nil
}

// kernelMounts are what stage1 needs and init keeps; init makes all others, and what has to be writable.
func kernelMounts() []struct {
	kind, place, data string
	flags             uintptr
} {
	const strict = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

	return []struct {
		kind, place, data string
		flags             uintptr
	}{
		{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
		{"proc", "/proc", "", strict},
		{"sysfs", "/sys", "", strict},
	}
}

func mountKernel() error {
	for _, m := range kernelMounts() {
		if err := unix.Mount(m.kind, m.place, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("%s: %w", m.place, err)
		}
	}

	return nil
}

// loadModules loads /modules/NN-NAME.ko in that order, which is the order of their dependencies.
func loadModules() error {
	files, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}

	for _, file := range files {
		if err := kmod.Load(file); err != nil {
			return err
		}
	}

	return nil
}

func moveMounts() error {
	for _, m := range kernelMounts() {
		if err := unix.Mount(m.place, newRoot+m.place, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("%s: %w", m.place, err)
		}
	}

	return nil
}

// switchRoot frees the initramfs's memory and makes the root image the root. The images' files stay until their loop devices
// go.
func switchRoot() error {
	for _, name := range []string{"/init", "/modules", images, images + suffix} {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}

	if err := unix.Chdir(newRoot); err != nil {
		return err
	}

	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}

	if err := unix.Chroot("."); err != nil {
		return err
	}

	return unix.Chdir("/")
}
