package zapslog_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/dactyl-os/dactyl/services/kit/zapslog"
)

// logger writes lines without their time.
func logger(level slog.Level, options zapslog.Options) (*zap.Logger, *strings.Builder) {
	out := &strings.Builder{}
	drop := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}

		return a
	}

	return zapslog.New(slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: drop})), options), out
}

func TestLevelsAndFields(t *testing.T) {
	log, out := logger(slog.LevelInfo, zapslog.Options{Least: zapcore.DebugLevel})

	log.Debug("unsaid")
	log.With(zap.Int("with", 1)).Info("said", zap.String("b", "x"), zap.Error(errors.New("broken")), zap.Duration("a", time.Second))
	log.DPanic("bad")

	const want = "level=INFO msg=said with=1 a=1s b=x error=broken\nlevel=ERROR msg=bad\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestQuiet(t *testing.T) {
	heard := 0
	log, out := logger(slog.LevelInfo, zapslog.Options{
		Least: zapcore.WarnLevel, Quiet: time.Hour, Each: func(zapcore.Entry, []zapcore.Field) { heard++ },
	})

	for range 3 {
		log.Info("below")
		log.Warn("again")
		log.With(zap.Int("n", 1)).Warn("again")
		log.Error("always")
	}

	const want = "level=WARN msg=again\nlevel=ERROR msg=always\nlevel=ERROR msg=always\nlevel=ERROR msg=always\n"
	if out.String() != want || heard != 9 {
		t.Errorf("heard %d, got\n%swant\n%s", heard, out, want)
	}
}
