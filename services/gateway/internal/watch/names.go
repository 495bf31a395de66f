package watch

import (
	"context"
	"fmt"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/gateway/internal/names"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

// Names fills the book from the members that discoveryd knows and the host name that networkd has set.
func Names(ctx context.Context, st state.State, book *names.Book) error {
	ctx = peer.AsSelf(ctx)
	events := make(chan state.Event)

	follow(ctx, st, events, cluster.MemberExtension{}, network.HostnameStatusExtension{})

	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-events:
			if event.Type == state.Errored {
				return fmt.Errorf("watch names: %w", event.Error)
			}

			note(book, event)
		}
	}
}

func note(book *names.Book, event state.Event) {
	present := event.Type == state.Created || event.Type == state.Updated

	switch res := event.Resource.(type) {
	case *cluster.Member:
		if !present {
			book.Forget(res.Metadata().ID())

			return
		}

		book.Member(res.Metadata().ID(), res.TypedSpec().Hostname, res.TypedSpec().Addresses)
	case *network.HostnameStatus:
		if present {
			book.Own(res.TypedSpec().Hostname, res.TypedSpec().Domainname)
		}
	}
}

// follow watches types; an owner that is not there yet, such as on a node without configuration, is asked again.
func follow(ctx context.Context, st state.State, events chan<- state.Event, types ...meta.ResourceDefinitionProvider) {
	for _, typ := range types {
		definition := typ.ResourceDefinition()
		kind := resource.NewMetadata(definition.DefaultNamespace, definition.Type, "", resource.VersionUndefined)

		go func() {
			for st.WatchKind(ctx, kind, events, state.WithBootstrapContents(true)) != nil {
				select {
				case <-time.After(recheck):
				case <-ctx.Done():
					return
				}
			}
		}()
	}
}
