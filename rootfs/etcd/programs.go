//go:build programs

// Package programs pins what goes into an image: nothing compiles it, `go mod tidy` reads it.
package programs

import (
	_ "go.etcd.io/etcd/etcdctl/v3"
	_ "go.etcd.io/etcd/server/v3"
)
