//go:build debug

package daemon

import (
	"context"
	"flag"
	"net/http"
	"net/http/pprof"
	"time"
)

func addDebugFlags(flags *flag.FlagSet, s *settings) {
	flags.StringVar(&s.pprof, "pprof", "", "serve pprof on this `address`, e.g. 127.0.0.1:9982")
}

func startDebug(env *Env, s settings) {
	if s.pprof == "" {
		return
	}

	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)

	server := &http.Server{Addr: s.pprof, Handler: mux, ReadHeaderTimeout: 5 * time.Second}

	env.Go("pprof", func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { server.Close() })
		defer stop()

		env.Log.Info("serving pprof", "address", s.pprof)

		// A port that is taken must not keep the daemon from its work.
		if err := server.ListenAndServe(); err != nil && ctx.Err() == nil {
			env.Log.Warn("serve pprof", "error", err)
		}

		return nil
	})
}
