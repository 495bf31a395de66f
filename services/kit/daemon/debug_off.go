//go:build !debug

package daemon

import "flag"

func addDebugFlags(*flag.FlagSet) (start func(*Env)) { return func(*Env) {} }
