package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mountRoot puts the root image behind a loop device and mounts it read-only.
func mountRoot() error {
	device, err := attach(rootImage)
	if err != nil {
		return err
	}
	defer device.Close() //nolint:errcheck // the mount holds it from here on

	if err = unix.Mount(device.Name(), newRoot, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mount %s: %w", device.Name(), err)
	}

	return nil
}

// attach gives a loop device in front of a file; it goes when its last user does (loop(4)).
func attach(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // the loop device holds it from here on

	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close() //nolint:errcheck // only asked

	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("ask for a loop device: %w", err)
	}

	device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}

	config := unix.LoopConfig{Fd: uint32(file.Fd())}
	config.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR
	copy(config.Info.File_name[:], path)

	if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err != nil {
		device.Close() //nolint:errcheck,gosec // the first error counts

		return nil, fmt.Errorf("attach %s to %s: %w", path, device.Name(), err)
	}

	return device, nil
}
