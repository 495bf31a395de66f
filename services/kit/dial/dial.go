// Package dial connects to daemons' sockets: calls wait until the daemon is there, and those that the descriptors call
// idempotent are sent again when it goes away in between.
package dial

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/internal/peercred"
)

// MaxMessage bounds a message in both directions: the largest are machine configurations and lists of files.
const MaxMessage = 32 << 20

// Socket makes a connection to a daemon's socket. It is opened by the first call.
func Socket(path string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix:"+path, append(Options(), opts...)...)
}

// Options are what every connection to a daemon uses; the gateway adds a codec of its own.
func Options() []grpc.DialOption {
	register()

	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(unaryStopped),
		grpc.WithChainStreamInterceptor(streamStopped),
		grpc.WithTransportCredentials(peercred.Client()),
		grpc.WithAuthority("dactyl"),
		grpc.WithDefaultServiceConfig(ServiceConfig()),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{
			// init holds the socket, so a refused connection is rare and short.
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDefaultCallOptions(
			grpc.WaitForReady(true),
			grpc.MaxCallRecvMsgSize(MaxMessage),
			grpc.MaxCallSendMsgSize(MaxMessage),
		),
		grpc.WithStaticStreamWindowSize(256 << 10),
		grpc.WithStaticConnWindowSize(1 << 20),
		grpc.WithReadBufferSize(bufferSize),
		grpc.WithWriteBufferSize(bufferSize),
		grpc.WithIdleTimeout(0),
	}
}

// bufferSize is per connection and direction. Most messages are small and daemons hold many connections.
const bufferSize = 8 << 10

// ServiceConfig is gRPC's retry configuration from the descriptors' idempotency levels.
var ServiceConfig = sync.OnceValue(func() string { return serviceConfig(access.Methods()) })

type methodName struct {
	Service string `json:"service,omitempty"`
	Method  string `json:"method,omitempty"`
}

type retryPolicy struct {
	MaxAttempts          int      `json:"maxAttempts"`
	InitialBackoff       string   `json:"initialBackoff"`
	MaxBackoff           string   `json:"maxBackoff"`
	BackoffMultiplier    float64  `json:"backoffMultiplier"`
	RetryableStatusCodes []string `json:"retryableStatusCodes"`
}

type methodConfig struct {
	Name         []methodName `json:"name"`
	WaitForReady bool         `json:"waitForReady"`
	RetryPolicy  *retryPolicy `json:"retryPolicy,omitempty"`
}

func serviceConfig(methods map[string]access.Method) string {
	var idempotent []methodName

	for name, m := range methods {
		if service, method, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/"); ok && m.Idempotent {
			idempotent = append(idempotent, methodName{service, method})
		}
	}

	slices.SortFunc(idempotent, func(a, b methodName) int { return strings.Compare(a.Service+a.Method, b.Service+b.Method) })

	configs := []methodConfig{
		{Name: []methodName{{}}, WaitForReady: true},
		{Name: idempotent, WaitForReady: true, RetryPolicy: &retryPolicy{
			MaxAttempts: 5, InitialBackoff: "0.01s", MaxBackoff: "0.2s", BackoffMultiplier: 2,
			RetryableStatusCodes: []string{"UNAVAILABLE"},
		}},
	}

	// The structure above always marshals.
	text, _ := json.Marshal(map[string]any{"methodConfig": configs, "loadBalancingConfig": balancing()})

	return string(text)
}
