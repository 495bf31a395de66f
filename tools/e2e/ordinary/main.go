// Command ordinary is a process without rights: it becomes uid 65534 and calls the health service behind each socket
// that its arguments name. It prints a line per socket, "PATH refused: why" or "PATH answered".
package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

const nobody = 65534

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ordinary:", err)
		os.Exit(1)
	}
}

func run(sockets []string) error {
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("drop groups: %w", err)
	}
	if err := syscall.Setgid(nobody); err != nil {
		return fmt.Errorf("become gid %d: %w", nobody, err)
	}
	if err := syscall.Setuid(nobody); err != nil {
		return fmt.Errorf("become uid %d: %w", nobody, err)
	}
	for _, socket := range sockets {
		if err := call(socket); err != nil {
			fmt.Printf("%s refused: %v\n", socket, err)
		} else {
			fmt.Printf("%s answered\n", socket)
		}
	}

	return nil
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
