package endpoint

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress what they send
	"google.golang.org/grpc/keepalive"

	"github.com/dactyl-os/dactyl/services/gateway/internal/bounds"
	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
)

const (
	// drainTime is how long unary calls may take to end after SIGTERM; streams end at once.
	drainTime = 3 * time.Second

	// streamWorkers keep their grown stacks between calls; a call beyond them gets a goroutine of its own.
	streamWorkers = 32

	// maxStreams of one connection is above what one caller may have in hand: who has more is told, not kept waiting.
	maxStreams = 1024
	// maxHeaders has room for the names of as many targets as a call may have.
	maxHeaders = 32 << 10

	// Requests are small; the window of one that is larger is opened when its size is known and allowed.
	streamWindow = 64 << 10
	connWindow   = 1 << 20
	// readBuffer is per connection.
	readBuffer = 8 << 10

	// Clients may ask as often as this whether the gateway is alive; the gateway asks those that are silent for long.
	minPing     = 5 * time.Second
	pingAfter   = 30 * time.Second
	pingTimeout = 10 * time.Second
)

// NewServer makes the public server: every call goes to handler.
func NewServer(store *Store, log *slog.Logger, handler grpc.StreamHandler) *grpc.Server {
	return grpc.NewServer(
		grpc.Creds(store.Server(bounds.NewLedger(bounds.Default), log)),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.ForceServerCodecV2(raw.Codec{}),
		grpc.UnknownServiceHandler(handler),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		// Fixed windows save the pings that would measure them.
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ReadBufferSize(readBuffer),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
	)
}

// Serve serves until stopping is closed, then tells clients to go elsewhere and lets their unary calls finish within a bound.
// Whoever holds the listener besides this process keeps new connections waiting meanwhile.
func Serve(stopping <-chan struct{}, server *grpc.Server, listener net.Listener, stopStreams func()) error {
	failed := make(chan error, 1)

	go func() { failed <- server.Serve(&waiting{Listener: listener}) }()

	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-stopping:
	}

	force := time.AfterFunc(drainTime, server.Stop)
	defer force.Stop()

	stopStreams()
	server.GracefulStop()

	return nil
}
