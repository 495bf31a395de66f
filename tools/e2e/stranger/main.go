// Command stranger is a process in a node that init did not start: "ordinary" without rights, or "container", root's in a
// mount and PID namespace of its own into which the run directory is bound. It calls the health service of each daemon that
// the other arguments name, and prints a line for each: "NAME refused: why" or "NAME answered".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

const (
	nobody = 65534
	runDir = "/run/dactyl"
	bound  = "/mnt"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "stranger:", err)
		os.Exit(1)
	}
}

func run(who string, daemons []string) error {
	switch who {
	case "ordinary":
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			return fmt.Errorf("become user %d: %w", nobody, err)
		}
		ask(runDir, daemons)
	case "container":
		inside := exec.Command("/proc/self/exe", append([]string{"inside"}, daemons...)...)
		inside.Stdout, inside.Stderr = os.Stdout, os.Stderr
		inside.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}

		return inside.Run()
	case "inside":
		if err := syscall.Mount(runDir, bound, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", runDir, err)
		}
		ask(bound, daemons)
	default:
		return fmt.Errorf("%q is no kind of stranger", who)
	}

	return nil
}

func ask(dir string, daemons []string) {
	for _, name := range daemons {
		if err := call(filepath.Join(dir, name+".sock")); err != nil {
			fmt.Printf("%s refused: %v\n", name, err)
		} else {
			fmt.Printf("%s answered\n", name)
		}
	}
}

func call(socket string) error {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})

	return err
}
