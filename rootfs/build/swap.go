package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

func (o *options) addSwap(value string) error {
	name, file, ok := strings.Cut(value, "=")
	if !ok || name == "" || file == "" {
		return fmt.Errorf("want NAME=FILE, for example networkd=/tmp/networkd")
	}

	o.swap[name] = file

	return nil
}

// checkSwaps looks at the files before minutes are spent on an image that would not boot.
func (o *options) checkSwaps() error {
	var errs []error

	for _, name := range slices.Sorted(maps.Keys(o.swap)) {
		if err := o.checkSwap(name, o.swap[name]); err != nil {
			errs = append(errs, fmt.Errorf("swap %s: %w", name, err))
		}
	}

	return errors.Join(errs...)
}

func (o *options) checkSwap(name, file string) error {
	if daemons := slices.Sorted(slices.Values(slices.Concat(o.linked, o.alone))); !slices.Contains(daemons, name) {
		return fmt.Errorf("no such daemon; there are %s", strings.Join(daemons, ", "))
	}

	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("%w; build it with: %s", err, o.advice(name, file))
	}

	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not an executable file (%s); build it with: %s", file, info.Mode(), o.advice(name, file))
	}

	program, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("%s is no program for Linux; build it with: %s", file, o.advice(name, file))
	}
	defer program.Close() // only read

	if want := machines[o.arch]; program.Machine != want {
		return fmt.Errorf("%s is for %s, the image for %s; build it with: %s", file, program.Machine, want, o.advice(name, file))
	}

	return nil
}

// machines are the architectures' names in the header of a program.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

func (o *options) advice(name, file string) string {
	return fmt.Sprintf("CGO_ENABLED=0 GOARCH=%s go build -trimpath -o %s ./services/%s/cmd/%[3]s", o.arch, file, name)
}
