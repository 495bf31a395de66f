package sntp_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/timed/internal/sntp"
	"github.com/dactyl-os/dactyl/services/timed/internal/sntp/sntptest"
)

func TestAsk(t *testing.T) {
	for _, offset := range []time.Duration{0, 90 * time.Minute, -300 * time.Millisecond} {
		server := sntptest.Start(t, sntptest.Behaviour{Offset: offset})

		a, err := sntp.Ask(t.Context(), server.Address)
		if err != nil {
			t.Fatal(err)
		}

		if (a.Offset-offset).Abs() > 50*time.Millisecond || a.Server != server.Address || a.RoundTrip < 0 {
			t.Errorf("offset %s: %+v", offset, a)
		}
	}
}

func TestErrors(t *testing.T) {
	silent := sntptest.Start(t, sntptest.Behaviour{Silent: true}).Address

	for server, want := range map[string]string{
		sntptest.Start(t, sntptest.Behaviour{Kiss: "DENY"}).Address:   "it refuses to answer (DENY)",
		sntptest.Start(t, sntptest.Behaviour{Unsynced: true}).Address: "invalid leap second",
		"":          "the name is empty",
		"/dev/ptp0": "PTP devices are not supported yet",
		"a:b:c":     "",
		closed(t):   "connection refused",
	} {
		_, err := sntp.Ask(t.Context(), server)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "time server "+server) {
			t.Errorf("%q: got %v, want %q", server, err, want)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()

	started := time.Now()

	_, err := sntp.Any(ctx, []string{silent, silent})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > time.Second {
		t.Errorf("silent server: %v after %s", err, time.Since(started))
	}
}

func TestAnyGoesOn(t *testing.T) {
	good := sntptest.Start(t, sntptest.Behaviour{}).Address

	a, err := sntp.Any(t.Context(), []string{closed(t), good})
	if err != nil || a.Server != good {
		t.Fatal(a, err)
	}
}

// closed is an address where nobody listens.
func closed(t *testing.T) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	return conn.LocalAddr().String()
}
