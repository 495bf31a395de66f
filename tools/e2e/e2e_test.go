// Package e2e shows what README promises on a whole sandbox cluster, from outside: through the built client, the public
// API and ordinary tools. One cluster of three control planes and a worker serves all tests; each leaves it as it was.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const (
	clusterName = "e2e"
	cidr        = "10.77.0.0/24"
)

// controlPlanes and worker are the addresses that the provisioner gives in cidr.
var (
	controlPlanes = []string{"10.77.0.2", "10.77.0.3", "10.77.0.4"}
	worker        = "10.77.0.5"
)

func nodes() []string { return append(append([]string{}, controlPlanes...), worker) }

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run makes the cluster in a home of its own, so that the user's clusters and client configuration stay untouched.
func run(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: a sandbox cluster needs root")

		return 1
	}
	removeHome, err := outside.OwnHome(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)

		return 1
	}
	defer removeHome()

	destroy := func() {
		if out := outside.Dactylctl(context.Background(), "cluster", "destroy", "--name", clusterName, "--force"); out.Err != nil {
			fmt.Fprintln(os.Stderr, "e2e: destroy:", out)
		}
	}
	defer destroy()
	outside.WhenInterrupted(func() { destroy(); removeHome() })

	out := createCluster(context.Background())
	fmt.Println(out)
	if out.Err != nil {
		return 1
	}

	return m.Run()
}

// createCluster makes the cluster, and brings back what of it is off.
func createCluster(ctx context.Context) outside.Result {
	return outside.Dactylctl(ctx, "cluster", "create", "--name", clusterName, "--cidr", cidr,
		"--controlplanes", "3", "--workers", "1", "--config-patch", "@"+outside.Repository("deploy", "examples", "guide01.yaml"))
}

// ctl runs the client and fails the test when the client fails.
func ctl(t *testing.T, args ...string) string {
	t.Helper()

	return outside.Must(t, outside.Dactylctl(t.Context(), args...))
}

// program runs an ordinary program and fails the test when it fails.
func program(t *testing.T, name string, args ...string) string {
	t.Helper()

	return outside.Must(t, outside.Run(t.Context(), name, args...))
}

// dial connects to one gateway as the admin; retry chooses the default retry of a client, or none at all.
func dial(t *testing.T, endpoint string, retry bool) *grpc.ClientConn {
	t.Helper()
	conn, err := outside.Dial(endpoint, retry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })

	return conn
}
