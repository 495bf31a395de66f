// Package sntptest is a time server for tests.
package sntptest

import (
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// Server answers on a UDP port of the loopback interface.
type Server struct {
	// Address is HOST:PORT.
	Address string
}

// Behaviour changes what the server says.
type Behaviour struct {
	// Offset is how far the server's clock is ahead.
	Offset time.Duration
	// Silent servers hear and say nothing.
	Silent bool
	// Kiss is the code of a refusal (RFC 5905, 7.4).
	Kiss string
	// Unsynced servers say that they do not know the time.
	Unsynced bool
}

// Start runs a server until the test ends. It listens in the network namespace of the calling thread.
func Start(t testing.TB, b Behaviour) *Server {
	t.Helper()

	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	done := make(chan struct{})

	go func() {
		defer close(done)

		serve(conn, b)
	}()

	t.Cleanup(func() {
		conn.Close()
		<-done
	})

	return &Server{Address: conn.LocalAddr().String()}
}

func serve(conn net.PacketConn, b Behaviour) {
	buf := make([]byte, 512)

	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}

		if n >= packetSize && !b.Silent {
			_, _ = conn.WriteTo(answer(buf[:packetSize], b), from)
		}
	}
}

const packetSize = 48

// answer fills in the packet of RFC 5905, figure 8.
func answer(question []byte, b Behaviour) []byte {
	const version4, server, alarm = 4 << 3, 4, 3 << 6

	p := make([]byte, packetSize)
	p[0], p[1], p[3] = version4|server, 1, 0xec
	copy(p[12:16], "TEST")

	if b.Unsynced {
		p[0] |= alarm
	}

	if b.Kiss != "" {
		p[1] = 0
		copy(p[12:16], b.Kiss)
	}

	now := timestamp(time.Now().Add(b.Offset))
	binary.BigEndian.PutUint64(p[16:], timestamp(time.Now().Add(b.Offset-time.Second)))
	copy(p[24:32], question[40:48])
	binary.BigEndian.PutUint64(p[32:], now)
	binary.BigEndian.PutUint64(p[40:], now)

	return p
}

// timestamp counts seconds from 1900 with 32 bits of fraction.
func timestamp(t time.Time) uint64 {
	const from1900 = 2208988800

	return uint64(t.Unix()+from1900)<<32 | uint64(t.Nanosecond())<<32/1e9
}
