// Package version holds what a binary says about itself; the build sets Tag, SHA and Built with -ldflags -X.
package version

import "strings"

// Name is the operating system's name, the same in every binary.
const Name = "Dactyl"

// Set by the linker: -X github.com/dactyl-os/dactyl/services/kit/version.Tag=v1.8.4+dactyl.1 and so on.
var (
	// Tag is the release: that of the contract it keeps, and our own count as build metadata, which does not sort (semver.org, 10):
	// clients warn of a server that is older than they are.
	Tag = "v1.8.4+dactyl.dev"
	// SHA is the commit the binary was built from.
	SHA = "unknown"
	// Built is the time of the commit in RFC 3339, so that two builds of one commit are equal.
	Built = ""
)

// Plain is Tag where "+" may not stand: in an image's tag and in VERSION_ID of os-release(5).
func Plain() string { return strings.ReplaceAll(Tag, "+", "-") }
