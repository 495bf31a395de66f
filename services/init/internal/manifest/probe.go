package manifest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Probe is how a program that does not speak our protocol is asked whether it serves: at most one of its fields is set.
type Probe struct {
	// Socket is the path of a unix socket that accepts, GRPC one that answers grpc.health.v1.
	Socket string `yaml:"socket"`
	GRPC   string `yaml:"grpc"`
	// HTTP is a URL on this node's loopback that answers 2xx.
	HTTP string `yaml:"http"`
	// Exec is a command that ends with zero, run as the daemon is.
	Exec []string `yaml:"exec"`
}

// probeKeys are the keys below ready: and health:.
func probeKeys() []string { return []string{"socket", "grpc", "http", "exec"} }

// None tells that there is nothing to ask.
func (p Probe) None() bool { return p.Socket == "" && p.GRPC == "" && p.HTTP == "" && len(p.Exec) == 0 }

// String says what is asked.
func (p Probe) String() string {
	switch {
	case p.Socket != "":
		return "socket " + p.Socket
	case p.GRPC != "":
		return "grpc " + p.GRPC
	case p.HTTP != "":
		return "http " + p.HTTP
	case len(p.Exec) > 0:
		return "exec " + strings.Join(p.Exec, " ")
	default:
		return "nothing"
	}
}

func (p Probe) check() error {
	var (
		errs []error
		ways int
	)

	for key, path := range map[string]string{"socket": p.Socket, "grpc": p.GRPC, "exec": first(p.Exec)} {
		if path == "" {
			continue
		}

		ways++

		if !strings.HasPrefix(path, "/") {
			errs = append(errs, fmt.Errorf("%s: %q is no absolute path", key, path))
		}
	}

	if p.HTTP != "" {
		ways++

		errs = append(errs, loopback(p.HTTP))
	}

	if ways > 1 {
		errs = append(errs, errors.New("one of socket, grpc, http, exec is asked, not several"))
	}

	return errors.Join(errs...)
}

// loopback refuses what would have PID 1 call other machines.
func loopback(text string) error {
	address, err := url.Parse(text)
	if err != nil || address.Scheme != "http" || address.Port() == "" || !net.ParseIP(address.Hostname()).IsLoopback() {
		return fmt.Errorf("http: %q is not a URL such as http://127.0.0.1:10248/healthz", text)
	}

	return nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}

	return list[0]
}
