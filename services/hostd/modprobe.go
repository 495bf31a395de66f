package hostd

import (
	"fmt"
	"os"
	"strings"

	"github.com/dactyl-os/dactyl/services/kit/daemon"

	"github.com/dactyl-os/dactyl/services/hostd/internal/modules"
)

// helper is the program that the kernel calls when it lacks a module: for a file system to mount, a protocol, a cipher.
const helper = "/usr/bin/hostd"

// ModuleRequest tells whether the kernel called this program for a module, and for which: PROGRAM -q -- NAME (call_modprobe
// in kernel/module/kmod.c of Linux).
func ModuleRequest(args []string) (module string, asked bool) {
	if len(args) != 4 || args[1] != "-q" || args[2] != "--" {
		return "", false
	}

	return args[3], true
}

// LoadModule answers the kernel's request and gives the exit code.
func LoadModule(name string) int {
	loader, err := modules.Open("/")
	if err == nil {
		_, err = loader.Load(name)
	}

	if err != nil {
		fmt.Fprintln(os.Stderr, "hostd:", err)

		return 1
	}

	return 0
}

// answerKernel makes this program the one that the kernel calls, unless the image has another.
func answerKernel(env *daemon.Env) {
	setting := env.Path("proc", "sys", "kernel", "modprobe")

	if program, err := os.ReadFile(setting); err == nil {
		if _, err = os.Stat(env.Path(strings.TrimSpace(string(program)))); err == nil {
			return
		}
	}

	if err := os.WriteFile(setting, []byte(helper+"\n"), 0); err != nil {
		env.Log.Warn("the kernel cannot ask for modules", "error", err)
	}
}
