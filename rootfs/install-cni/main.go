// Command install-cni copies the CNI plugins of its image to where the container runtime of the host looks for them.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	from, to := "/opt/cni/bin", "/host/opt/cni/bin"

	switch len(os.Args) {
	case 1:
	case 3:
		from, to = os.Args[1], os.Args[2]
	default:
		fmt.Fprintln(os.Stderr, "usage: install-cni [FROM TO]")
		os.Exit(2)
	}

	if err := install(from, to); err != nil {
		fmt.Fprintln(os.Stderr, "install-cni:", err)
		os.Exit(1)
	}
}

func install(from, to string) error {
	plugins, err := os.ReadDir(from)
	if err != nil {
		return err
	}

	if err = os.MkdirAll(to, 0o755); err != nil {
		return err
	}

	for _, p := range plugins {
		if !p.Type().IsRegular() {
			continue
		}

		if err = place(filepath.Join(from, p.Name()), filepath.Join(to, p.Name())); err != nil {
			return fmt.Errorf("install %s: %w", p.Name(), err)
		}
	}

	return nil
}

// place writes beside and renames: a plugin that runs at the moment cannot be written to, and none must be seen half.
func place(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close() // only read

	staged, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(staged.Name()) // gone when it was renamed

	_, err = io.Copy(staged, source)
	if err = errors.Join(err, staged.Chmod(0o755), staged.Close()); err != nil {
		return err
	}

	return os.Rename(staged.Name(), to)
}
