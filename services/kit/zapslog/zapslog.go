// Package zapslog lets libraries that log with zap, cosi's controller runtime and etcd, write to a slog logger.
package zapslog

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Options of a logger.
type Options struct {
	// Least is the lowest level that is passed on; the slog logger may want more yet.
	Least zapcore.Level
	// Quiet is how long a warning that was said stays unsaid when it comes again; 0 says all. Errors are always said.
	Quiet time.Duration
	// Each hears of every entry of Least or more, also of those that stay unsaid.
	Each func(zapcore.Entry, []zapcore.Field)
}

// New gives a zap logger whose entries go to log.
func New(log *slog.Logger, options Options) *zap.Logger {
	return zap.New(core{handler: log.Handler(), options: options, said: &said{at: map[string]time.Time{}}})
}

type core struct {
	handler slog.Handler
	options Options
	said    *said
}

func (c core) Enabled(level zapcore.Level) bool {
	return level >= c.options.Least && (c.options.Each != nil || c.handler.Enabled(context.Background(), levelOf(level)))
}

func (c core) With(fields []zapcore.Field) zapcore.Core {
	c.handler = c.handler.WithAttrs(attrs(fields))

	return c
}

func (c core) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}

	return checked
}

func (c core) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	if c.options.Each != nil {
		c.options.Each(entry, fields)
	}

	level := levelOf(entry.Level)
	if !c.handler.Enabled(context.Background(), level) || level == slog.LevelWarn && !c.said.first(entry, c.options.Quiet) {
		return nil
	}

	record := slog.NewRecord(entry.Time, level, entry.Message, 0)
	record.AddAttrs(attrs(fields)...)

	return c.handler.Handle(context.Background(), record)
}

// said remembers warnings by their message.
type said struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (s *said) first(entry zapcore.Entry, quiet time.Duration) bool {
	if quiet == 0 {
		return true
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	if last, ok := s.at[entry.Message]; ok && entry.Time.Sub(last) < quiet {
		return false
	}

	s.at[entry.Message] = entry.Time

	return true
}

func (c core) Sync() error { return nil }

// attrs are in the order of their keys: zap's encoder keeps none.
func attrs(fields []zapcore.Field) []slog.Attr {
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(encoder)
	}

	list := make([]slog.Attr, 0, len(encoder.Fields))
	for _, key := range slices.Sorted(maps.Keys(encoder.Fields)) {
		list = append(list, slog.Any(key, encoder.Fields[key]))
	}

	return list
}

func levelOf(level zapcore.Level) slog.Level {
	switch {
	case level < zapcore.InfoLevel:
		return slog.LevelDebug
	case level == zapcore.InfoLevel:
		return slog.LevelInfo
	case level == zapcore.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}
