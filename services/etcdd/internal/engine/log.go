package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
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
	// opening: what etcd would end the process for is a panic, which ends the start only.
	opening atomic.Bool
	data    Data
}

// truncated is what raft panics with, where nothing can hold it, when the leader knows of more in this member's log than is there.
const truncated = "Was the raft log corrupted, truncated, or lost?"

// logger gives etcd one that hands warnings and worse to ours.
func (w *lastWords) logger(log *slog.Logger) *zap.Logger {
	return zapslog.New(log, zapslog.Options{Least: zapcore.WarnLevel, Quiet: quietFor, Each: w.hear}).WithOptions(zap.WithFatalHook(w))
}

// OnWrite ends what a fatal entry is about.
func (w *lastWords) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	if !w.opening.Load() {
		os.Exit(1)
	}

	err := errors.New(entry.Message)

	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok {
			err = fmt.Errorf("%s: %w", entry.Message, cause)
		}
	}

	panic(err)
}

func (w *lastWords) hear(entry zapcore.Entry, fields []zapcore.Field) {
	if entry.Level > zapcore.ErrorLevel && strings.Contains(entry.Message, truncated) {
		_ = w.data.setDamaged(entry.Message) // the next start ends here again, and notes it
	}

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
