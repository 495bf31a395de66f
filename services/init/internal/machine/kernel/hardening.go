// Package kernel checks what the boot loader told the kernel, and tells it what a distribution leaves open.
package kernel

import (
	"slices"
	"strings"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/cmdline"
)

// parameter that the Kernel Self Protection Project recommends, with the values that do.
type parameter struct {
	name   string
	values []string
}

// recommended are those that a kernel of a distribution leaves to its command line
// (kspp.github.io/Recommended_Settings#kernel-command-line-options).
func recommended() []parameter {
	return []parameter{
		{"init_on_alloc", []string{"1"}},
		{"slab_nomerge", []string{"", "1"}},
		{"pti", []string{"on"}},
	}
}

// Missing gives the recommended parameters that the command line does not set, as they are to be written.
func Missing(parameters cmdline.Parameters) []string {
	var missing []string

	for _, want := range recommended() {
		if parameters.Has(want.name) && slices.Contains(want.values, strings.ToLower(parameters.Last(want.name))) {
			continue
		}

		text := want.name
		if want.values[0] != "" {
			text += "=" + want.values[0]
		}

		missing = append(missing, text)
	}

	return missing
}

// defaultPanic is how long a machine that cannot go on shows why, unless panic= says otherwise.
const defaultPanic = 10 * time.Second

// PanicDelay is when a machine that cannot go on reboots: after some time, at once, or never (panic=0), as the kernel reads
// panic= (Documentation/admin-guide/kernel-parameters.txt).
func PanicDelay(parameters cmdline.Parameters) (delay time.Duration, reboot bool) {
	if !parameters.Has(cmdline.Panic) {
		return defaultPanic, true
	}

	seconds, err := time.ParseDuration(parameters.Last(cmdline.Panic) + "s")

	switch {
	case err != nil:
		return defaultPanic, true
	case seconds == 0:
		return 0, false
	default:
		return max(seconds, 0), true
	}
}
