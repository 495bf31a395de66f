package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const definitions = "ResourceDefinitions.meta.cosi.dev"

// resources measures Get, List and Watch beside the same calls straight to the owner.
func resources(ctx context.Context, t *table) error {
	networkd, err := open(ctx, "networkd")
	if err != nil {
		return err
	}
	defer networkd.Close()
	configd, err := networkd.door.Conn("configd")
	if err != nil {
		return err
	}
	defer configd.Close()

	straight := time.Duration(0)
	for _, path := range []struct {
		name            string
		get, list       *grpc.ClientConn
		getMax, listMax string
	}{
		{"straight to the socket", networkd.socket, configd, "", ""},
		{"through the gateway", networkd.gateway, networkd.gateway, "p50 at most 1.8× straight", "p50 at most 3 ms"},
	} {
		one, err := times(ctx, 2000, get(path.get, outside.Probe("networkd")))
		if err != nil {
			return err
		}
		if straight == 0 {
			straight = one.median()
		}
		t.add("resource Get "+path.name+", p50 / p99", fmt.Sprintf("%s, p50 %.2f× straight", one.percentiles(),
			one.median().Seconds()/straight.Seconds()), path.getMax)
		var items int
		all, err := times(ctx, 300, func(ctx context.Context) (err error) {
			items, err = list(ctx, path.list, "meta", definitions)

			return err
		})
		if err != nil {
			return err
		}
		t.add(fmt.Sprintf("List of %d items %s, p50 / p99", items, path.name), all.percentiles(), path.listMax)
	}

	return watch(ctx, t, networkd.gateway, networkd.socket)
}

const (
	writers         = 10
	eventsPerWriter = 100 // a second
	watchSeconds    = 5
)

// watch lets ten writers update ten resources at their owner, a thousand times a second in all, and counts what one watch
// through the gateway gets.
func watch(ctx context.Context, t *table, gateway, owner *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	stream, err := v1alpha1.NewStateClient(gateway).Watch(ctx, &v1alpha1.WatchRequest{Namespace: "network", Type: refreshes, ApiVersion: 1,
		Options: &v1alpha1.WatchOptions{BootstrapContents: true}})
	if err != nil {
		return err
	}
	// The end of the contents shows that the watch is there.
	if _, err := stream.Recv(); err != nil {
		return err
	}
	state := v1alpha1.NewStateClient(owner)
	for writer := range writers {
		if _, err := state.Create(ctx, &v1alpha1.CreateRequest{Resource: refresh(writer, 1)}); err != nil {
			return fmt.Errorf("create: %w", err)
		}
	}
	defer func() {
		for writer := range writers {
			_, _ = state.Destroy(context.WithoutCancel(ctx), &v1alpha1.DestroyRequest{Namespace: "network", Type: refreshes, Id: fmt.Sprint("bench-", writer)})
		}
	}()

	var sent atomic.Int64
	failures := make(chan error, writers)
	start := time.Now()
	for writer := range writers {
		go func() { failures <- write(ctx, state, writer, &sent) }()
	}
	const wanted = writers * (1 + eventsPerWriter*watchSeconds)
	behind, worst := int64(0), int64(0)
	for got := int64(0); got < wanted; {
		reply, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("after %d events: %w", got, err)
		}
		for _, event := range reply.GetEvent() {
			if event.GetEventType() == v1alpha1.EventType_CREATED || event.GetEventType() == v1alpha1.EventType_UPDATED {
				got++
			}
		}
		if behind = sent.Load() + writers - got; behind > worst {
			worst = behind
		}
	}
	took := time.Since(start)
	for range writers {
		if err := <-failures; err != nil {
			return err
		}
	}
	t.add("Watch: events delivered", fmt.Sprintf("%.0f/s, all of %d, at most %d behind the writers",
		float64(wanted)/took.Seconds(), wanted, worst), "1,000/s without falling behind")

	return nil
}

const refreshes = "LinkRefreshes.net.talos.dev"

func refresh(writer, version int) *v1alpha1.Resource {
	return &v1alpha1.Resource{Metadata: &v1alpha1.Metadata{
		Namespace: "network", Type: refreshes, Id: fmt.Sprint("bench-", writer), Version: fmt.Sprint(version), Phase: "running",
	}, Spec: &v1alpha1.Spec{}}
}

// write updates one resource a hundred times a second.
func write(ctx context.Context, state v1alpha1.StateClient, writer int, sent *atomic.Int64) error {
	tick := time.NewTicker(time.Second / eventsPerWriter)
	defer tick.Stop()
	for i := range eventsPerWriter * watchSeconds {
		<-tick.C
		if _, err := state.Update(ctx, &v1alpha1.UpdateRequest{NewResource: refresh(writer, i+1), Options: &v1alpha1.UpdateOptions{}}); err != nil {
			return fmt.Errorf("update %d: %w", i, err)
		}
		sent.Add(1)
	}

	return nil
}
