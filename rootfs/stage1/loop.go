package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mountImages mounts the root image, and then the others at their places in it.
func mountImages() error {
	if err := mountImage(images+suffix, newRoot); err != nil {
		return err
	}

	return filepath.WalkDir(images, func(file string, d fs.DirEntry, err error) error {
		switch {
		case file == images && errors.Is(err, fs.ErrNotExist):
			return nil // a root without other images
		case err != nil || d.IsDir():
			return err
		}

		place := strings.TrimSuffix(strings.TrimPrefix(file, images), suffix)

		return mountImage(file, newRoot+place)
	})
}

// mountImage puts an image behind a loop device and mounts it read-only.
func mountImage(image, place string) error {
	device, err := attach(image)
	if err != nil {
		return err
	}
	defer device.Close() // the mount holds it from here on

	if err = unix.Mount(device.Name(), place, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mount %s from %s to %s: %w", image, device.Name(), place, err)
	}

	return nil
}

// attach gives a loop device in front of a file; it goes when its last user does (loop(4)).
func attach(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the loop device holds it from here on

	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close() // only asked

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
		device.Close()

		return nil, fmt.Errorf("attach %s to %s: %w", path, device.Name(), err)
	}

	return device, nil
}
