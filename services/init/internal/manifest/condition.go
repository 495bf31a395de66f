package manifest

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Condition is what has to hold before a daemon starts: one of those below, or with an argument service:NAME or path:PATH.
type Condition string

// Conditions without an argument. ControlPlane holds on those only; on other nodes the daemon is not needed. Network is all
// four of network:addresses, network:connectivity, network:hostname and network:etcfiles.
const (
	Configuration Condition = "configuration"
	ControlPlane  Condition = "controlplane"
	Time          Condition = "time"
	Network       Condition = "network"

	NetworkAddresses    Condition = "network:addresses"
	NetworkConnectivity Condition = "network:connectivity"
	NetworkHostname     Condition = "network:hostname"
	NetworkEtcFiles     Condition = "network:etcfiles"
)

func conditions() []Condition {
	return []Condition{
		Configuration, ControlPlane, Time, Network, NetworkAddresses, NetworkConnectivity, NetworkHostname, NetworkEtcFiles,
	}
}

// Service is the service that a condition waits for.
func (c Condition) Service() (string, bool) { return strings.CutPrefix(string(c), "service:") }

// Path is the path that a condition waits for.
func (c Condition) Path() (string, bool) { return strings.CutPrefix(string(c), "path:") }

// String says what is waited for.
func (c Condition) String() string {
	if name, is := c.Service(); is {
		return fmt.Sprintf("service %q to be \"up\"", name)
	}

	if path, is := c.Path(); is {
		return fmt.Sprintf("path %q to exist", path)
	}

	if part, is := strings.CutPrefix(string(c), "network:"); is {
		return "the network's " + part
	}

	switch c {
	case Network:
		return "the network"
	case Time:
		return "the time to be right"
	default:
		return "the machine configuration"
	}
}

func (c Condition) check() error {
	if name, is := c.Service(); is && named.MatchString(name) {
		return nil
	}

	if path, is := c.Path(); is && filepath.IsAbs(path) {
		return nil
	}

	if slices.Contains(conditions(), c) {
		return nil
	}

	known := make([]string, 0, len(conditions()))
	for _, c := range conditions() {
		known = append(known, string(c))
	}

	return fmt.Errorf("%q is none of %s, service:NAME, path:/PATH", string(c), strings.Join(known, ", "))
}

// nameLength bounds names: they are files' and cgroups' names, and columns of a table.
const nameLength = 64

// named is what a name of a daemon or of a descriptor looks like.
var named = regexp.MustCompile(fmt.Sprintf(`^[a-z][a-z0-9-]{0,%d}$`, nameLength-1))

// ValidName tells whether a daemon or a descriptor may be called so.
func ValidName(name string) bool { return named.MatchString(name) }

// Covers tells whether one of the patterns is the name, or its beginning with a star.
func Covers(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		head, open := strings.CutSuffix(pattern, "*")

		return pattern == name || open && strings.HasPrefix(name, head)
	})
}

// checkPatterns refuses patterns that cover everything or nothing.
func checkPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if !named.MatchString(strings.TrimSuffix(pattern, "*")) {
			return fmt.Errorf("%q is neither a name nor the beginning of one with a star", pattern)
		}
	}

	return nil
}
