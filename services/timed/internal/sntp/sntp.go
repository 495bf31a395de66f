// Package sntp asks time servers (RFC 4330 over the NTP version 4 wire).
package sntp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/beevik/ntp"
)

// Timeout bounds one question to one server, its name's resolution included.
const Timeout = 3 * time.Second

// Answer is what a server said.
type Answer struct {
	Server string
	// Offset is what has to be added to the local clock, RoundTrip the time it took.
	Offset, RoundTrip time.Duration
}

// Ask asks one server, given as a name or address with an optional port.
func Ask(ctx context.Context, server string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()

	r, err := query(ctx, server)
	if err != nil {
		return Answer{}, fmt.Errorf("time server %s: %w", server, clear(ctx, err))
	}

	return Answer{Server: server, Offset: r.ClockOffset, RoundTrip: r.RTT}, nil
}

func query(ctx context.Context, server string) (*ntp.Response, error) {
	if server == "" {
		return nil, errors.New("the name is empty")
	}

	if strings.HasPrefix(server, "/dev/") {
		return nil, errors.New("PTP devices are not supported yet")
	}

	deadline, _ := ctx.Deadline()

	r, err := ntp.QueryWithOptions(server, ntp.QueryOptions{
		Timeout: time.Until(deadline),
		Dialer: func(_, remote string) (net.Conn, error) {
			var d net.Dialer

			return d.DialContext(ctx, "udp", remote)
		},
	})
	if err != nil {
		return nil, err
	}

	if r.IsKissOfDeath() {
		return nil, fmt.Errorf("it refuses to answer (%s)", strings.TrimRight(r.KissCode, "\x00 "))
	}

	return r, r.Validate()
}

// clear says in plain words what usually goes wrong.
func clear(ctx context.Context, err error) error {
	var dns *net.DNSError

	switch {
	case errors.As(err, &dns):
		return fmt.Errorf("resolve its name: %w", dns)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s: %w", Timeout, context.DeadlineExceeded)
	default:
		return err
	}
}
