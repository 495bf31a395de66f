// Package calllog writes a line for each call from outside the node. Their number is bounded, so that neither a busy client nor
// a hostile one drowns what else a log tells; what was left out is counted.
package calllog

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/status"
)

// A person's calls are all there; of a program's that calls all the time, some are.
const (
	perSecond = 5
	burst     = 100
)

// Log writes the lines.
type Log struct {
	log     *slog.Logger
	limit   *rate.Limiter
	skipped atomic.Uint64
}

// New makes a log of calls.
func New(log *slog.Logger) *Log { return &Log{log: log, limit: rate.NewLimiter(perSecond, burst)} }

// Ended tells of a call that began at begin and ended with err; who gives the roles it was made with, and where it came from if
// that is known. Of the error only the code is told: messages may have in them what a caller sent.
func (l *Log) Ended(method string, begin time.Time, err error, who func() (roles []string, from string)) {
	if !l.limit.Allow() {
		l.skipped.Add(1)

		return
	}

	roles, from := who()
	attrs := []slog.Attr{
		slog.String("method", method), slog.String("roles", strings.Join(roles, ",")), slog.String("code", status.Code(err).String()),
		slog.Duration("took", time.Since(begin).Round(time.Microsecond)),
	}

	if from != "" {
		attrs = append(attrs, slog.String("from", from))
	}

	if skipped := l.skipped.Swap(0); skipped > 0 {
		attrs = append(attrs, slog.Uint64("calls_left_out_before", skipped))
	}

	l.log.LogAttrs(context.Background(), slog.LevelInfo, "call", attrs...)
}
