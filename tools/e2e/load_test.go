package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/state"
	statewire "github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/etcd"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/kit/router"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const (
	callsPerSecond = 200
	callDeadline   = 10 * time.Second
)

// load calls Version, ServiceList, resource Gets, the first event of a resource Watch and Lists on target, EtcdMembers among them, through one
// gateway at a fixed rate, as our client does: a List that breaks off is made again.
type load struct {
	calls, failed, told atomic.Int64
	slowest             atomic.Int64
	// clear tells an error that says who does not answer from one that a caller can do nothing with; nil: all are failures.
	clear  func(error) bool
	mu     sync.Mutex
	errors map[string]int
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func startLoad(conn *grpc.ClientConn, target string, perSecond int, clear func(error) bool) *load {
	calls := loadOf(conn)
	if target != worker {
		calls = append(calls, memberCalls(conn)...)
	}

	return startCalls(calls, target, perSecond, clear)
}

// loadOf are the calls of a load on one connection.
func loadOf(conn *grpc.ClientConn) []func(context.Context) error {
	service, resources := machine.NewMachineServiceClient(conn), v1alpha1.NewStateClient(conn)
	lists := state.WrapCore(router.Resume(statewire.NewAdapter(resources, statewire.WithDisableWatchRetry())))

	return []func(context.Context) error{
		func(ctx context.Context) error { _, err := service.Version(ctx, &emptypb.Empty{}); return err },
		func(ctx context.Context) error { _, err := service.ServiceList(ctx, &emptypb.Empty{}); return err },
		func(ctx context.Context) error { _, err := resources.Get(ctx, outside.Probe("networkd")); return err },
		func(ctx context.Context) error { return firstEvent(ctx, resources, outside.Probe("networkd")) },
		func(ctx context.Context) error {
			return listed(ctx, lists, meta.NamespaceName, meta.ResourceDefinitionType)
		},
		func(ctx context.Context) error {
			return listed(ctx, lists, network.NamespaceName, network.AddressStatusType)
		},
	}
}

// memberCalls ask a control plane for what must not go away while etcdd is away.
func memberCalls(conn *grpc.ClientConn) []func(context.Context) error {
	resources := v1alpha1.NewStateClient(conn)
	lists := state.WrapCore(router.Resume(statewire.NewAdapter(resources, statewire.WithDisableWatchRetry())))
	member := &v1alpha1.GetRequest{Namespace: etcd.NamespaceName, Type: etcd.MemberType, Id: etcd.LocalMemberID}

	return []func(context.Context) error{
		func(ctx context.Context) error { _, err := resources.Get(ctx, member); return err },
		func(ctx context.Context) error { return listed(ctx, lists, etcd.NamespaceName, etcd.MemberType) },
	}
}

func startCalls(calls []func(context.Context) error, target string, perSecond int, clear func(error) bool) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{errors: map[string]int{}, cancel: cancel, clear: clear}
	l.done.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				l.done.Go(func() { l.call(outside.Node(context.Background(), target), calls[i%len(calls)]) })
			}
		}
	})

	return l
}

func listed(ctx context.Context, from state.State, namespace resource.Namespace, typ resource.Type) error {
	list, err := from.List(ctx, resource.NewMetadata(namespace, typ, "", resource.VersionUndefined))
	if err == nil && len(list.Items) == 0 {
		return fmt.Errorf("the list of %s is empty", typ)
	}

	return err
}

func firstEvent(ctx context.Context, state v1alpha1.StateClient, of *v1alpha1.GetRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := state.Watch(ctx, &v1alpha1.WatchRequest{Namespace: of.GetNamespace(), Type: of.GetType(), Id: &of.Id})
	if err != nil {
		return err
	}
	_, err = stream.Recv()

	return err
}

func (l *load) call(ctx context.Context, call func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	start := time.Now()
	err := call(ctx)
	took := int64(time.Since(start))
	for {
		slowest := l.slowest.Load()
		if took <= slowest || l.slowest.CompareAndSwap(slowest, took) {
			break
		}
	}
	l.calls.Add(1)
	if err != nil && l.clear != nil && l.clear(err) {
		l.told.Add(1)
	} else if err != nil {
		l.failed.Add(1)
		l.mu.Lock()
		l.errors[err.Error()]++
		l.mu.Unlock()
	}
}

func (l *load) stop() { l.cancel(); l.done.Wait() }
