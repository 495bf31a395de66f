package calllog_test

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/kit/calllog"
)

func TestLine(t *testing.T) {
	var out bytes.Buffer

	log := calllog.New(slog.New(slog.NewTextHandler(&out, nil)))
	log.Ended("/machine.MachineService/Version", time.Now(), status.Error(codes.NotFound, "secret"), func() ([]string, string) {
		return []string{"os:reader", "os:operator"}, "10.5.0.9"
	})

	want := regexp.MustCompile(`^time=\S+ level=INFO msg=call method=/machine.MachineService/Version roles=os:reader,os:operator code=NotFound took=[\d.]+[µm]?s from=10.5.0.9\n$`)
	if !want.Match(out.Bytes()) {
		t.Errorf("got %q", out.String())
	}
}

// TestBound: a thousand calls in a moment are a hundred lines, and the next one tells how many are missing.
func TestBound(t *testing.T) {
	var out bytes.Buffer

	log := calllog.New(slog.New(slog.NewTextHandler(&out, nil)))
	for range 1000 {
		log.Ended("/m", time.Now(), errors.New("x"), nobody)
	}

	if lines := strings.Count(out.String(), "\n"); lines < 100 || lines > 150 {
		t.Errorf("%d lines", lines)
	}

	out.Reset()

	for deadline := time.Now().Add(10 * time.Second); out.Len() == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		log.Ended("/m", time.Now(), nil, nobody)
	}

	if !regexp.MustCompile(`calls_left_out_before=\d{3}`).MatchString(out.String()) {
		t.Errorf("got %q", out.String())
	}
}

func nobody() ([]string, string) { return nil, "" }
