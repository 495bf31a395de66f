package client

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// hostname is what a resolver or a gateway may know: letters, digits, "-", "_" and dots between.
var hostname = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// CheckNode refuses what is neither an address nor a name of a node; nobody needs to be asked for that.
func CheckNode(node string) error {
	err := checkHost(node)
	if err == nil {
		return nil
	}
	if _, addressErr := netip.ParseAddr(node); addressErr == nil {
		return fmt.Errorf("node %q: %w", node, err)
	}
	if host, _, err := net.SplitHostPort(node); err == nil && checkHost(host) == nil {
		return fmt.Errorf("node %q: a node is written without a port: %s", node, host)
	}
	if host, _, found := strings.Cut(node, "/"); found && checkHost(host) == nil {
		return fmt.Errorf("node %q: a node is written without the length of its network: %s", node, host)
	}

	return fmt.Errorf("node %q is neither an address nor a name: dactylctl get members lists both", node)
}

func checkHost(host string) error {
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" {
			return fmt.Errorf("a link-local address needs the link it is on: %s%%eth0", host)
		}

		return nil
	}
	if len(host) > 253 || !hostname.MatchString(host) {
		return errors.New("write HOST or HOST:PORT")
	}

	return nil
}

// Endpoint gives host:port of a gateway as people write it: HOST or HOST:PORT, IPv6 with or without brackets.
func Endpoint(s string) (string, error) {
	if s == "" {
		return "", errors.New("an endpoint is empty")
	}
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		return "", fmt.Errorf("endpoint %q: write HOST or HOST:PORT, not a URL: %s", s, u.Host)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), Port
	}
	if err := checkHost(host); err != nil {
		return "", fmt.Errorf("endpoint %q: %w", s, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("endpoint %q: %q is no port: it is a number from 1 to 65535, and %s for a gateway", s, port, Port)
	}

	return net.JoinHostPort(host, port), nil
}
