//go:build debug

package daemon

import (
	"context"
	"flag"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"time"
)

// pprofPorts are where guide 06 looks for gateway, init and trustd; the others follow in the order of the alphabet.
func pprofPorts() []string {
	return []string{"gateway", "init", "trustd", "configd", "diskd", "discoveryd", "etcdd", "extd", "hostd", "networkd", "podd", "timed", "watchdogd"}
}

// firstPprofPort is the first of pprofPorts.
const firstPprofPort = 9981

func addDebugFlags(flags *flag.FlagSet) (start func(*Env)) {
	address := ""
	if i := slices.Index(pprofPorts(), flags.Name()); i >= 0 {
		address = ":" + strconv.Itoa(firstPprofPort+i)
	}

	chosen := flags.String("pprof", address, "serve pprof on this `address`; none when empty")

	return func(env *Env) {
		if *chosen != "" {
			servePprof(env, *chosen)
		}
	}
}

func servePprof(env *Env, address string) {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)

	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}

	env.Go("pprof", func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { server.Close() })
		defer stop()

		env.Log.Info("serving pprof", "address", address)

		// A port that is taken must not keep the daemon from its work.
		if err := server.ListenAndServe(); err != nil && ctx.Err() == nil {
			env.Log.Warn("serve pprof", "error", err)
		}

		return nil
	})
}
