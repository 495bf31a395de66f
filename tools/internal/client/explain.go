package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// AnswerLimit is how long a node that is well may take for a plain question.
const AnswerLimit = 25 * time.Second

// Advice is an error with its likely cause and the next command to run.
type Advice struct {
	Err   error
	Cause string
	Next  string
}

func (a *Advice) Error() string {
	text := a.Err.Error()
	if a.Cause != "" {
		text += "\n  likely cause: " + a.Cause
	}
	if a.Next != "" {
		text += "\n  next: " + a.Next
	}

	return text
}

func (a *Advice) Unwrap() error { return a.Err }

// Explain turns the errors of dialling and of the gateway into advice; where
// names the endpoints in use. Others stay as they are.
func Explain(err error, where []string) error {
	var (
		none *NoConfigError
		node *NodeError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &none):
		return &Advice{err, "this machine has not been given access to a cluster",
			"dactylctl config merge FILE (the talosconfig that gen config wrote), or dactylctl cluster create for a local one"}
	case errors.As(err, &node):
		return &NodeError{Node: node.Node, Err: Explain(node.Err, []string{node.Node})}
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	at := strings.Join(where, ", ")
	plain := errors.New(s.Message())
	switch s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded:
		return explainDial(s.Message(), at)
	case codes.PermissionDenied:
		return &Advice{plain, "the certificate of this context does not carry a role that may do this", "dactylctl config info (shows the roles)"}
	case codes.Unauthenticated:
		return &Advice{plain, "the node asks for a client certificate that it knows", "dactylctl config info"}
	case codes.Unimplemented:
		return &Advice{plain, "this node does not offer the method: it is older, or the daemon for it is not installed", "dactylctl -n " + at + " version"}
	case codes.Canceled:
		return plain
	}

	return plain
}

// explainDial reads gRPC's text of a connection that did not come about.
func explainDial(message, at string) error {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(message, p) {
				return true
			}
		}

		return false
	}
	failed := func(what, cause, next string) error {
		return &Advice{fmt.Errorf("cannot reach %s: %s", at, what), cause, next}
	}
	if !has("connection error", "transport", "dialing", "error reading", "name resolver", "context deadline exceeded", "connection reset") {
		return errors.New(message) // a daemon's own words
	}
	switch {
	case has("fingerprint"):
		return failed("the certificate is not the expected one", "another machine has this address, or the node has been restarted in maintenance mode since",
			"compare with the fingerprint that the node's console prints")
	case has("certificate has expired", "expired certificate", "certificate expired"):
		return failed("a certificate has expired", "the client certificate of this context is past its end, or a clock is wrong",
			"dactylctl config info (shows the date), then dactylctl config new FILE with one that is valid")
	case has("certificate signed by unknown authority"):
		return failed("its certificate is not signed by this context's CA", "the node is in maintenance mode (no configuration yet), or it belongs to another cluster",
			"dactylctl -n "+at+" version --insecure, or dactylctl config contexts to choose the other cluster")
	case has("certificate is valid for", "cannot validate certificate", "doesn't contain any IP SANs"):
		return failed("its certificate does not name this address", "the address is not in machine.certSANs of the node",
			"use an address of `dactylctl get addresses`, or add this one to machine.certSANs")
	case has("unknown certificate authority", "bad certificate", "certificate required", "unknown certificate"):
		return failed("the node refuses this context's certificate", "the context belongs to another cluster, or the node's CA has been rotated",
			"dactylctl config contexts, dactylctl config info")
	case has("connection refused"):
		return failed("connection refused", "the node is starting, or its gateway is down",
			"wait a moment and repeat; for a local cluster: dactylctl cluster show")
	case has("no such host"):
		return failed("the name is not known", "the endpoint is misspelt, or the resolver of this machine does not know it", "dactylctl config info (shows the endpoints)")
	case has("no route to host", "network is unreachable", "host is down"):
		return failed("no route", "the node is off, or this machine is not in its network", "ping "+strings.Split(at, ":")[0])
	case has("i/o timeout", "deadline exceeded", "DeadlineExceeded", "context deadline"):
		return failed(tooLate(message), "the node is off or busy, or a firewall drops packets to port "+Port, "ping "+strings.Split(at, ":")[0])
	case has("error reading server preface", "error reading from server", "EOF", "connection reset", "transport is closing"):
		return failed("the connection broke", "the node's gateway was restarting, or the node just went away", "repeat the command")
	}

	return &Advice{Err: errors.New(message)}
}

// tooLate says how long was waited: here, or at the gateway that says so itself.
func tooLate(message string) string {
	if strings.Contains(message, "context deadline exceeded") {
		return fmt.Sprintf("no answer in time (the limit is %s)", AnswerLimit)
	}

	return "no answer in time: " + message
}
