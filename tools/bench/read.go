package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const fileSize = 500 << 20

// reading measures a file straight from hostd and through the gateway, in turn.
func reading(ctx context.Context, t *table) error {
	daemon, err := open(ctx, "hostd")
	if err != nil {
		return err
	}
	defer daemon.Close()
	path, remove, err := largeFile(ctx)
	if err != nil {
		return err
	}
	defer remove()

	var straight, through samples
	for range repeats {
		for conn, into := range map[*grpc.ClientConn]*samples{daemon.socket: &straight, daemon.gateway: &through} {
			took, err := readFile(ctx, conn, path)
			if err != nil {
				return err
			}
			*into = append(*into, took)
		}
	}
	speed := func(took time.Duration) float64 { return fileSize / 1e6 / took.Seconds() }
	t.add("read of 500 MB straight from the socket", fmt.Sprintf("%.0f MB/s", speed(straight.median())), "")
	t.add("read of 500 MB through the gateway", fmt.Sprintf("%.0f MB/s, %.2f of straight", speed(through.median()),
		straight.median().Seconds()/through.median().Seconds()), "at least 0.9 of straight")

	return nil
}

// largeFile makes a file in the entry node; it is a hole and takes no room.
func largeFile(ctx context.Context) (path string, remove func(), err error) {
	namespace, err := outside.NetNS(ctx, entry)
	if err != nil {
		return "", nil, err
	}
	pid, err := outside.PID(namespace, "init")
	if err != nil {
		return "", nil, err
	}
	path = "/var/bench-file"
	host := fmt.Sprintf("/proc/%d/root%s", pid, path)
	file, err := os.Create(host)
	if err != nil {
		return "", nil, err
	}

	return path, func() { os.Remove(host) }, errors.Join(file.Truncate(fileSize), file.Close())
}

func readFile(ctx context.Context, conn *grpc.ClientConn, path string) (time.Duration, error) {
	begin := time.Now()
	stream, err := machine.NewMachineServiceClient(conn).Read(ctx, &machine.ReadRequest{Path: path})
	if err != nil {
		return 0, err
	}
	for size := 0; ; {
		data, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && size == fileSize:
			return time.Since(begin), nil
		case errors.Is(err, io.EOF):
			return 0, fmt.Errorf("%d of %d bytes of %s came", size, fileSize, path)
		case err != nil:
			return 0, err
		}
		size += len(data.GetBytes())
	}
}
