//go:build !debug

package daemon

import "flag"

func addDebugFlags(*flag.FlagSet, *settings) {}

func startDebug(*Env, settings) {}
