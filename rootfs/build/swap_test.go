package main

import (
	"debug/elf"
	"encoding/binary"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// header is the least that is a program for an architecture.
func header(t *testing.T, machine elf.Machine) []byte {
	t.Helper()

	var b strings.Builder

	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Ehsize: 64}
	copy(h.Ident[:], []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)})

	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		t.Fatal(err)
	}

	return []byte(b.String())
}

// What is said of swaps that cannot work is in testdata/swap.txt; UPDATE=1 writes it.
func TestSwapsThatCannotWorkAreRefusedBeforeTheBuild(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}

	t.Chdir(t.TempDir())

	golden, text := filepath.Join(wd, "testdata", "swap.txt"), ""

	for name, file := range map[string]struct {
		data []byte
		mode fs.FileMode
	}{
		"amd64": {header(t, elf.EM_X86_64), 0o755}, "arm64": {header(t, elf.EM_AARCH64), 0o755},
		"unset": {header(t, elf.EM_X86_64), 0o644}, "script": {[]byte("#!/bin/sh\nexec true\n"), 0o755},
	} {
		if err := os.WriteFile(name, file.data, file.mode); err != nil {
			t.Fatal(err)
		}
	}

	for _, swap := range []string{
		"networkd", "networkd=", "netwrokd=amd64", "networkd=missing", "networkd=.", "networkd=unset", "networkd=script",
		"networkd=arm64", "networkd=missing networkd2=amd64", "networkd=amd64", "etcdd=amd64 networkd=amd64",
	} {
		text += "SWAP=" + swap + "\n" + refusal(t, swap) + "\n"
	}

	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}

	if text != string(want) {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

// refusal runs the builder as make does, as far as the lists that are not there.
func refusal(t *testing.T, swap string) string {
	t.Helper()

	args := []string{"-linked", "configd networkd", "-alone", "etcdd"}
	for _, s := range strings.Fields(swap) {
		args = append(args, "-swap", s)
	}

	err := run(t.Context(), append(args, "rootfs"), io.Discard)
	if err == nil {
		t.Fatalf("%s: no error", swap)
	}

	if strings.Contains(err.Error(), "kernel.yaml") || strings.Contains(err.Error(), "rootfs/") {
		return "accepted\n"
	}

	return err.Error() + "\n"
}
