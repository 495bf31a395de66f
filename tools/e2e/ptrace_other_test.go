//go:build !amd64

package e2e

import "testing"

func closeDescriptors(t *testing.T, _ int) {
	t.Skip("SKIP: descriptors of another process are closed on amd64 only")
}

func allocate(t *testing.T, _ int, _ uint64) {
	t.Skip("SKIP: another process is made to take memory on amd64 only")
}
