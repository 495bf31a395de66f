package engine

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/dactyl-os/dactyl/services/kit/zapslog"
)

// quietFor is how long a repeated warning of etcd stays unsaid: an absent peer makes several a second.
const quietFor = 30 * time.Second

// lastWords are why etcd stopped by itself: it says so only in its log.
type lastWords struct {
	mu    sync.Mutex
	fatal error
}

// logger gives etcd one that hands warnings and worse to ours.
func (w *lastWords) logger(log *slog.Logger) *zap.Logger {
	return zapslog.New(log, zapslog.Options{Least: zapcore.WarnLevel, Quiet: quietFor, Each: w.hear})
}

func (w *lastWords) hear(entry zapcore.Entry, fields []zapcore.Field) {
	if entry.Message != "server error" {
		return
	}

	w.mu.Lock()
	defer w.mu.Unlock()

	for _, f := range fields {
		if err, ok := f.Interface.(error); ok {
			w.fatal = err
		}
	}
}

func (w *lastWords) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()

	if w.fatal != nil && strings.Contains(w.fatal.Error(), "permanently removed from the cluster") {
		return ErrRemoved
	}

	return w.fatal
}
