package engine

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"
)

// quietFor is how long a repeated message of etcd stays unsaid: an absent peer makes several a second.
const quietFor = 30 * time.Second

// slogCore gives etcd a logger that hands warnings and worse to ours.
type slogCore struct {
	log  *slog.Logger
	said *said
}

type said struct {
	mu    sync.Mutex
	at    map[string]time.Time
	fatal error
}

func newSlogCore(log *slog.Logger) *slogCore {
	return &slogCore{log: log, said: &said{at: map[string]time.Time{}}}
}

// serverError is why etcd stopped by itself: it says so only in its log.
func (c *slogCore) serverError() error {
	c.said.mu.Lock()
	defer c.said.mu.Unlock()

	if c.said.fatal != nil && strings.Contains(c.said.fatal.Error(), "permanently removed from the cluster") {
		return ErrRemoved
	}

	return c.said.fatal
}

func (c *slogCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{log: slog.New(c.log.Handler().WithAttrs(attrs(fields))), said: c.said}
}

func (c *slogCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}

	return checked
}

func (c *slogCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	if entry.Message == "server error" {
		c.said.end(fields)
	}

	level := slog.LevelWarn
	if entry.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}

	if level == slog.LevelWarn && !c.said.first(entry.Message, entry.Time) {
		return nil
	}

	c.log.LogAttrs(context.Background(), level, entry.Message, attrs(fields)...)

	return nil
}

func (c *slogCore) Sync() error { return nil }

func (s *said) first(message string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	if last, ok := s.at[message]; ok && now.Sub(last) < quietFor {
		return false
	}

	s.at[message] = now

	return true
}

func (s *said) end(fields []zapcore.Field) {
	s.mu.Lock()
	defer s.mu.Unlock()

	for _, f := range fields {
		if err, ok := f.Interface.(error); ok {
			s.fatal = err
		}
	}
}

func attrs(fields []zapcore.Field) []slog.Attr {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(encoder)
	}

	out := make([]slog.Attr, 0, len(encoder.Fields))
	for k, v := range encoder.Fields {
		out = append(out, slog.Any(k, v))
	}

	slices.SortFunc(out, func(a, b slog.Attr) int {
		if a.Key < b.Key {
			return -1
		}

		return 1
	})

	return out
}
