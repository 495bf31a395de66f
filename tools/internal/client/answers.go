package client

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/common"
)

// NodeError is the failure of one node. Told: a gateway that is well says so of it; else the call to it failed, maybe on the
// way to the gateway.
type NodeError struct {
	Node string
	Err  error
	Told bool
}

func (e *NodeError) Error() string { return e.Node + ": " + e.Err.Error() }

func (e *NodeError) Unwrap() error { return e.Err }

// Answer is a message of one node; unary answers and streamed messages have
// this in common.
type Answer interface{ GetMetadata() *common.Metadata }

// NodeOf names the node that a message came from.
func (c *Client) NodeOf(m Answer) string {
	if host := m.GetMetadata().GetHostname(); host != "" {
		return host
	}

	return c.Targets()[0]
}

// Failed gives the error that a message carries instead of an answer.
func (c *Client) Failed(m Answer) error {
	md := m.GetMetadata()
	if md.GetError() == "" {
		return nil
	}
	err := error(errors.New(md.GetError()))
	if s := md.GetStatus(); s.GetCode() != 0 {
		err = status.Error(codes.Code(s.GetCode()), orElse(s.GetMessage(), md.GetError()))
	}

	return &NodeError{Node: c.NodeOf(m), Err: err, Told: true}
}

// Each hands over every answer with its node and joins the failures.
func Each[M Answer](c *Client, messages []M, use func(node string, m M) error) error {
	var errs []error
	for _, m := range messages {
		if err := c.Failed(m); err != nil {
			errs = append(errs, err)

			continue
		}
		if err := use(c.NodeOf(m), m); err != nil {
			errs = append(errs, err)
		}
	}

	return errors.Join(errs...)
}

// Receiver is the client's end of a stream.
type Receiver[M any] interface{ Recv() (M, error) }

// Receive hands over every message of a stream until its end.
func Receive[M Answer](c *Client, stream Receiver[M], use func(node string, m M) error) error {
	var errs []error
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.Join(errs...)
		}
		if err != nil {
			if len(errs) == 0 {
				return err
			}

			return errors.Join(append(errs, err)...)
		}
		if err := c.Failed(m); err != nil {
			errs = append(errs, err)

			continue
		}
		if err := use(c.NodeOf(m), m); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}

	return s
}
