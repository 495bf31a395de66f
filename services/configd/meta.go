package configd

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	diskdv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/diskd/v1"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/daemon"

	"github.com/dactyl-os/dactyl/services/configd/internal/acquire"
	"github.com/dactyl-os/dactyl/services/configd/internal/metastore"
	"github.com/dactyl-os/dactyl/services/configd/internal/publish"
	"github.com/dactyl-os/dactyl/services/configd/internal/store"
)

// waitingFile keeps META of a machine without a META partition over a restart of configd, not of the machine.
const waitingFile = "meta"

// openMeta publishes META: diskd's partition on a machine, else a file of the state directory.
func openMeta(env *daemon.Env, params cmdline.Parameters, files *store.Store, publisher publish.Publisher, onDisk bool) *metastore.Store {
	given, err := acquire.Meta(params.Variables()[acquire.InstallerMeta])
	if err != nil {
		env.Log.Error("META of the kernel command line is not used", "variable", acquire.InstallerMeta, "error", err)
	}

	s := &metastore.Store{
		Home: files.File(store.MetaFile), Waiting: store.File(env.RunFile(waitingFile)),
		Aside: files.File(store.MetaFile + ".damaged"), Given: given, Publish: publisher.Meta, Log: env.Log,
	}

	if onDisk {
		s.Home = partition{env}
	}

	s.Open(context.Background())
	env.Go("read META", s.Run)

	return s
}

// partition is the META partition, by way of diskd.
type partition struct{ env *daemon.Env }

// Read waits for diskd.
func (p partition) Read(ctx context.Context) ([]byte, error) {
	conn, err := p.env.Dial("diskd")
	if err != nil {
		return nil, fmt.Errorf("reach diskd: %w", err)
	}

	answer, err := diskdv1.NewDiskServiceClient(conn).ReadMeta(ctx, &diskdv1.ReadMetaRequest{})

	switch status.Code(err) {
	case codes.OK:
		return answer.GetData(), nil
	case codes.NotFound:
		return nil, metastore.ErrNoHome
	default:
		return nil, told(err)
	}
}

// Write is safe to be repeated: each META has a generation, and diskd takes no older one.
func (p partition) Write(ctx context.Context, data []byte) error {
	conn, err := p.env.Dial("diskd")
	if err != nil {
		return fmt.Errorf("reach diskd: %w", err)
	}

	_, err = diskdv1.NewDiskServiceClient(conn).WriteMeta(ctx, &diskdv1.WriteMetaRequest{Data: data})

	return told(err)
}

// told gives what diskd said, or that it said nothing.
func told(err error) error {
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.DeadlineExceeded, codes.Unavailable:
		return fmt.Errorf("diskd does not answer, so it may be done or not: %w", err)
	default:
		return errors.New(status.Convert(err).Message())
	}
}
