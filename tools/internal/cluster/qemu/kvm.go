package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// proof is a boot sector that leaves QEMU with an exit code nothing else gives: mov al,0x21; out 0xf4,al; hlt.
var proof = []byte{0xb0, 0x21, 0xe6, 0xf4, 0xf4}

// 0x21 as isa-debug-exit turns it into an exit code.
const proofCode = 0x21<<1 | 1

// leastCPU is refused by QEMU where KVM lacks what every 64-bit processor has: it runs five bytes, but a kernel stops in its first
// instructions without a word.
const leastCPU = "kvm64,enforce"

// TryKVM runs five bytes of guest code with KVM. That the device is there and opens says little: nested virtual machines
// and containers often have one that does not run anything.
func TryKVM(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()

	if _, err := os.Stat("/dev/kvm"); err != nil {
		return fmt.Errorf("look for KVM: %w", err)
	}

	dir, err := os.MkdirTemp("", "dactyl-kvm-")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer os.RemoveAll(dir) // a few bytes in the temporary directory

	sector := make([]byte, 512)
	copy(sector, proof)
	sector[510], sector[511] = 0x55, 0xaa

	path := filepath.Join(dir, "sector")
	if err := os.WriteFile(path, sector, 0o600); err != nil {
		return fmt.Errorf("write boot sector: %w", err)
	}

	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "kvm", "-cpu", leastCPU, "-m", "16", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-drive", "if=ide,format=raw,file="+comma(path), "-device", "isa-debug-exit,iobase=0xf4,iosize=1")
	out, err := cmd.CombinedOutput()

	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == proofCode {
		return nil
	}

	if ctx.Err() != nil {
		return errors.New("a guest of five bytes does not come to its end")
	}

	return fmt.Errorf("run a guest: %w: %s", err, strings.TrimSpace(firstLine(out)))
}

func firstLine(out []byte) string {
	line, _, _ := strings.Cut(string(out), "\n")

	return line
}
