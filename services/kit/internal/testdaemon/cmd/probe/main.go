// Command probe calls a test daemon's socket once and prints the error, for tests as another user.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	timeapi "github.com/dactyl-os/dactyl/proto/time"

	"github.com/dactyl-os/dactyl/services/kit/dial"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(socket string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	conn, err := dial.Socket(socket)
	if err != nil {
		return err
	}
	defer conn.Close()

	_, err = timeapi.NewTimeServiceClient(conn).Time(ctx, &emptypb.Empty{})

	return err
}
