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

	_, err := sntp.Several(ctx, []string{silent, silent})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > time.Second {
		t.Errorf("silent server: %v after %s", err, time.Since(started))
	}
}

// TestSeveral: what most servers say counts, whatever the order they stand in.
func TestSeveral(t *testing.T) {
	at := func(offset time.Duration) string {
		return sntptest.Start(t, sntptest.Behaviour{Offset: offset}).Address
	}
	silent := sntptest.Start(t, sntptest.Behaviour{Silent: true}).Address
	dead, good, liar, other := closed(t), at(0), at(-24*time.Hour), at(24*time.Hour)

	for name, test := range map[string]struct {
		servers []string
		within  time.Duration
	}{
		"one":                                  {servers: []string{good}},
		"one that is not there":                {servers: []string{dead, good}},
		"a liar first":                         {servers: []string{liar, good, at(0)}},
		"liars on both sides":                  {servers: []string{liar, good, other}},
		"more than are asked at once":          {servers: []string{dead, dead, dead, dead, dead, good}},
		"one that is silent is not waited for": {servers: []string{silent, good, at(0)}, within: sntp.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			started := time.Now()

			a, err := sntp.Several(t.Context(), test.servers)
			if err != nil || a.Offset.Abs() > time.Second {
				t.Errorf("%+v, %v", a, err)
			}

			if took := time.Since(started); test.within > 0 && took >= test.within {
				t.Errorf("took %s", took)
			}
		})
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
