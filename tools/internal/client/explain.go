package client

import (
	"errors"
	"fmt"
	"net"
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

// Explain turns the errors of dialling, of the gateway and of nodes behind it into advice; where names the endpoints in
// use. Others stay as they are.
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
		return explainNode(node, where)
	}
	s, ok := statusOf(err)
	if !ok {
		return err
	}
	if name, reason, ok := aboutNode(s.Message()); ok {
		return explainAbsent(name, reason, s.Code())
	}

	return explainStatus(s, strings.Join(where, ", "))
}

// statusOf is the status within an error. Words around it stay, unless it is about a connection, which they do not matter for.
func statusOf(err error) (*status.Status, bool) {
	var inner interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &inner) {
		return nil, false
	}
	s := inner.GRPCStatus()
	around, _, _ := strings.Cut(err.Error(), "rpc error: ")
	if _, _, ofNode := aboutNode(s.Message()); ofNode || failureOf(s.Message()) != nil {
		around = ""
	}

	return status.New(s.Code(), around+s.Message()), true
}

// explainNode names the node of an error, unless it was the way to the gateway that failed, or the text names it.
func explainNode(n *NodeError, where []string) error {
	s, ok := statusOf(n.Err)
	if !ok {
		return n
	}
	name, reason, absent := aboutNode(s.Message())
	if !absent && n.Told && failureOf(s.Message()) != nil {
		name, reason, absent = n.Node, s.Message(), true
	}
	switch {
	case absent:
		return explainAbsent(name, reason, s.Code())
	case unreachable(s), noGateway(s, where):
		return explainStatus(s, strings.Join(where, ", "))
	}
	explained := explainStatus(s, n.Node)
	if strings.Contains(explained.Error(), n.Node) && s.Code() == codes.DeadlineExceeded {
		return explained
	}

	return &NodeError{Node: n.Node, Err: explained}
}

// unreachable says that no gateway answered.
func unreachable(s *status.Status) bool {
	return (s.Code() == codes.Unavailable || s.Code() == codes.DeadlineExceeded) && failureOf(s.Message()) != nil
}

// noGateway says that something else of ours answered: a gateway knows every service, and listens at its own port.
func noGateway(s *status.Status, where []string) bool {
	if s.Code() != codes.Unimplemented || !strings.Contains(s.Message(), "unknown service") || len(where) != 1 {
		return false
	}
	_, port, err := net.SplitHostPort(where[0])

	return err == nil && port != Port
}

func explainStatus(s *status.Status, at string) error {
	plain := errors.New(s.Message())
	switch s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded:
		if f := failureOf(s.Message()); f != nil {
			return f.explain("cannot reach "+at, s.Message(), at)
		}
	case codes.PermissionDenied:
		return &Advice{plain, "the certificate of this context does not carry a role that may do this", "dactylctl config info (shows the roles)"}
	case codes.Unauthenticated:
		return &Advice{plain, "the node asks for a client certificate that it knows", "dactylctl config info"}
	case codes.Unimplemented:
		if noGateway(s, []string{at}) {
			_, port, _ := net.SplitHostPort(at)

			return &Advice{fmt.Errorf("%s is no gateway: %w", at, plain), "port " + port + " belongs to another daemon", "leave the port out: a gateway's is " + Port}
		}

		return &Advice{plain, "this node does not offer the method: it is older, or the daemon for it is not installed", "dactylctl -n " + at + " version"}
	}

	return plain
}

// aboutNode takes apart what a gateway says of another node that it could not ask: "node NAME: reason".
func aboutNode(message string) (name, reason string, ok bool) {
	rest, ok := strings.CutPrefix(message, "node ")
	if !ok {
		return "", "", false
	}
	name, reason, ok = strings.Cut(rest, ": ")

	return strings.Trim(name, `"`), reason, ok && !strings.ContainsAny(name, " \t")
}

// explainAbsent is for a node behind a gateway that is well.
func explainAbsent(name, reason string, code codes.Code) error {
	if strings.Contains(reason, "no member of the cluster and no host is named") {
		return &Advice{fmt.Errorf("%s: no member of the cluster and no host has this name", name), "it is misspelt, or the node is not in this cluster", "dactylctl -n ANOTHER get members (shows names and addresses)"}
	}
	f := failureOf(reason)
	if f == nil {
		return &NodeError{Node: name, Err: explainStatus(status.New(code, reason), name)}
	}
	behind, gateways := *f, strings.NewReplacer("this machine", "the gateway", "this context", "the cluster")
	behind.what, behind.cause = gateways.Replace(f.what), gateways.Replace(f.cause)
	if f.host {
		behind.next += ", or dactylctl -n ANOTHER get members (shows who is in the cluster)"
	}

	return behind.explain("the gateway cannot reach "+name, reason, name)
}
