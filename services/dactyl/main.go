// Command dactyl is every daemon but etcdd in one program: it is the daemon that it is called as. Processes of one program
// share its text in memory, which is most of what an idle daemon holds; any name can be given to a binary of its own.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/services/configd"
	"github.com/dactyl-os/dactyl/services/discoveryd"
	"github.com/dactyl-os/dactyl/services/diskd"
	"github.com/dactyl-os/dactyl/services/gateway"
	"github.com/dactyl-os/dactyl/services/hostd"
	initd "github.com/dactyl-os/dactyl/services/init"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/networkd"
	"github.com/dactyl-os/dactyl/services/timed"
	"github.com/dactyl-os/dactyl/services/trustd"
)

func main() { os.Exit(run()) }

// run picks the daemon by the name of the program, or by the first argument of `dactyl NAME`.
func run() int {
	name := filepath.Base(os.Args[0])
	if name == "dactyl" && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}

	if name == "init" {
		return initd.Main()
	}

	if module, asked := hostd.ModuleRequest(os.Args); asked && name == "hostd" {
		return hostd.LoadModule(module)
	}

	construct, known := daemons()[name]
	if !known {
		fmt.Fprintf(os.Stderr, "dactyl: no daemon %q in this program: call it as one of %s\n", name, names())

		return 2
	}

	return daemon.Main(name, construct)
}

func daemons() map[string]func(*daemon.Env) error {
	return map[string]func(*daemon.Env) error{
		"configd":    configd.New,
		"discoveryd": discoveryd.New,
		"diskd":      diskd.New,
		"gateway":    gateway.New,
		"hostd":      hostd.New,
		"networkd":   networkd.New,
		"timed":      timed.New,
		"trustd":     trustd.New,
	}
}

func names() string {
	all := []string{"init"}
	for name := range daemons() {
		all = append(all, name)
	}

	slices.Sort(all)

	return strings.Join(all, ", ")
}
