//go:build programs

// Package programs pins what goes into an image: nothing compiles it, `go mod tidy` reads it.
package programs

import (
	_ "github.com/containernetworking/plugins/plugins/meta/flannel"
)
