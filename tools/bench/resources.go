package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const definitions = "ResourceDefinitions.meta.cosi.dev"

// resources measures Get, List and Watch beside the same calls straight to the owner.
func resources(ctx context.Context, t *table) error {
	gateway, err := outside.Dial(entry, false)
	if err != nil {
		return err
	}
	defer gateway.Close()
	networkd, err := direct(ctx, entry, "networkd")
	if err != nil {
		return err
	}
	defer networkd.Close()
	configd, err := direct(ctx, entry, "configd")
	if err != nil {
		return err
	}
	defer configd.Close()

	for _, path := range []struct {
		name            string
		get, list       *grpc.ClientConn
		getMax, listMax string
	}{
		{"straight to the socket", networkd, configd, "", ""},
		{"through the gateway", gateway, gateway, "p50 at most 0.45 ms", "p50 at most 3 ms"},
	} {
		one, err := times(ctx, 2000, get(path.get, outside.Probe("networkd")))
		if err != nil {
			return err
		}
		t.add("resource Get "+path.name+", p50 / p99", one.percentiles(), path.getMax)
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
	return watch(ctx, t, gateway, networkd)
}

// watch updates a resource a thousand times a second at its owner and counts what a watch through the gateway gets.
func watch(ctx context.Context, t *table, gateway, owner *grpc.ClientConn) error {
	const (
		perSecond = 1000
		seconds   = 5
		id        = "bench"
	)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ref := func(version string) *v1alpha1.Resource {
		return &v1alpha1.Resource{Metadata: &v1alpha1.Metadata{
			Namespace: "network", Type: "LinkRefreshes.net.talos.dev", Id: id, Version: version, Phase: "running",
		}, Spec: &v1alpha1.Spec{}}
	}
	state := v1alpha1.NewStateClient(owner)
	if _, err := state.Create(ctx, &v1alpha1.CreateRequest{Resource: ref("1")}); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer func() {
		_, _ = state.Destroy(context.WithoutCancel(ctx), &v1alpha1.DestroyRequest{Namespace: "network", Type: "LinkRefreshes.net.talos.dev", Id: id})
	}()
	wanted := id
	stream, err := v1alpha1.NewStateClient(gateway).Watch(ctx, &v1alpha1.WatchRequest{Namespace: "network", Type: "LinkRefreshes.net.talos.dev", Id: &wanted})
	if err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil {
		return err
	}

	sent := make(chan time.Time, perSecond*seconds)
	failure := make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		defer close(sent)
		for i := range perSecond * seconds {
			<-tick.C
			sent <- time.Now()
			if _, err := state.Update(ctx, &v1alpha1.UpdateRequest{NewResource: ref(fmt.Sprint(i + 1)), Options: &v1alpha1.UpdateOptions{}}); err != nil {
				failure <- fmt.Errorf("update %d: %w", i, err)
				cancel()
				return
			}
		}
	}()
	start := time.Now()
	var lags samples
	for at := range sent {
		if _, err := stream.Recv(); err != nil {
			select {
			case err = <-failure:
			default:
			}
			return err
		}
		lags = append(lags, time.Since(at))
	}
	t.add("Watch: events delivered", fmt.Sprintf("%.0f/s of %d/s, lag p50 / p99 %s",
		float64(len(lags))/time.Since(start).Seconds(), perSecond, lags.percentiles()), "1,000/s without falling behind")
	return nil
}
