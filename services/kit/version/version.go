// Package version holds what a binary says about itself; the build sets Tag, SHA and Built with -ldflags -X.
package version

// Name is the operating system's name, the same in every binary.
const Name = "Dactyl"

// Set by the linker: -X github.com/dactyl-os/dactyl/services/kit/version.Tag=v0.1.0 and so on.
var (
	// Tag is the release (git describe).
	Tag = "v0.0.0-dev"
	// SHA is the commit the binary was built from.
	SHA = "unknown"
	// Built is the time of the commit in RFC 3339, so that two builds of one commit are equal.
	Built = ""
)
