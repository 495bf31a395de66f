package client

import (
	"fmt"
	"slices"
	"strings"
)

// failure is a way in which a connection does not come about, known by parts of gRPC's text.
type failure struct {
	parts             []string
	what, cause, next string // AT stands for what was dialled, HOST for its first host
	// heals: something is restarting, and the call is worth another try.
	heals bool
	// host: the host itself does not answer, so that only somebody else can tell more.
	host bool
}

// failures are looked through in their order; the last one is any other connection.
var failures = []failure{
	{
		parts: []string{"fingerprint"}, what: "the certificate is not the expected one",
		cause: "another machine has this address, or the node has been restarted in maintenance mode since", next: "compare with the fingerprint that the node's console prints",
	}, {
		parts: []string{"certificate has expired", "expired certificate", "certificate expired"}, what: "a certificate has expired",
		cause: "the client certificate of this context is past its end, or a clock is wrong",
		next:  "dactylctl config info (shows the date), then dactylctl config new FILE with one that is valid",
	}, {
		parts: []string{"certificate signed by unknown authority"}, what: "its certificate is not signed by this context's CA",
		cause: "the node is in maintenance mode (no configuration yet), or it belongs to another cluster",
		next:  "dactylctl -n AT version --insecure, or dactylctl config contexts to choose the other cluster",
	}, {
		parts: []string{"certificate is valid for", "cannot validate certificate", "doesn't contain any IP SANs"}, what: "its certificate does not name this address",
		cause: "the address is not in machine.certSANs of the node", next: "use an address of `dactylctl get addresses`, or add this one to machine.certSANs",
	}, {
		parts: []string{"unsupported certificate", "incompatible key usage"}, what: "a certificate is not made for this use",
		cause: "the client certificate of this context lacks the usage clientAuth", next: "dactylctl config new FILE with a certificate that has it",
	}, {
		parts: []string{"unknown certificate authority", "bad certificate", "certificate required", "unknown certificate"}, what: "the node refuses this context's certificate",
		cause: "the context belongs to another cluster, the node's CA has been rotated, or the certificate is none of a client (clientAuth)", next: "dactylctl config contexts, dactylctl config info",
	}, {
		parts: []string{"connection refused"}, what: "connection refused", heals: true,
		cause: "the node is starting, or its gateway is down", next: "wait a moment and repeat; for a local cluster: dactylctl cluster show",
	}, {
		parts: []string{"no such host"}, what: "the name is not known",
		cause: "the endpoint is misspelt, or the resolver of this machine does not know it", next: "dactylctl config info (shows the endpoints)",
	}, {
		parts: []string{"first record does not look like a TLS handshake"}, what: "what answers does not speak TLS",
		cause: "another program has this port", next: "leave the port out: a gateway's is " + Port,
	}, {
		parts: []string{"no route to host", "network is unreachable", "host is down"}, what: "no route", host: true,
		cause: "the node is off, or this machine is not in its network", next: "ping HOST",
	}, {
		parts: []string{"i/o timeout", "deadline exceeded", "DeadlineExceeded"}, what: "no answer in time", host: true,
		cause: "the node is off or busy, or a firewall drops packets to port " + Port, next: "ping HOST",
	}, {
		parts: []string{"error reading server preface", "error reading from server", "EOF", "connection reset", "transport is closing"}, what: "the connection broke", heals: true,
		cause: "the node's gateway was restarting, or the node just went away", next: "repeat the command",
	}, {
		what: "", heals: true,
	},
}

// connecting are the words by which gRPC speaks of a connection, and not a daemon of its work.
var connecting = []string{
	"connection error", "transport", "dialing", "error reading", "name resolver", "context deadline exceeded", "connection reset",
}

// failureOf finds what a message says of a connection; nil if it speaks of something else.
func failureOf(message string) *failure {
	has := func(part string) bool { return strings.Contains(message, part) }
	if !slices.ContainsFunc(connecting, has) {
		return nil
	}
	for i, f := range failures {
		if slices.ContainsFunc(f.parts, has) || f.parts == nil {
			return &failures[i]
		}
	}

	return nil
}

func (f *failure) explain(cannot, message, at string) error {
	what := f.what
	switch {
	case what == "":
		what = message
	case strings.Contains(message, "context deadline exceeded"):
		what = fmt.Sprintf("%s (the limit is %s)", what, AnswerLimit)
	}
	host, _, _ := strings.Cut(at, ",")
	fill := strings.NewReplacer("AT", at, "HOST", strings.TrimSuffix(host, ":"+Port))

	return &Advice{Err: fmt.Errorf("%s: %s", cannot, what), Cause: f.cause, Next: fill.Replace(f.next)}
}
