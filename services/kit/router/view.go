package router

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	"github.com/cosi-project/runtime/pkg/state"
)

// view is what a watcher has been told so far. Its follower changes it, readers look at it meanwhile.
type view struct {
	mu    sync.RWMutex
	known map[resource.ID]resource.Resource
	// missing are known resources that a restarted owner has not published yet.
	missing map[resource.ID]struct{}
}

func newView() *view {
	return &view{known: map[resource.ID]resource.Resource{}, missing: map[resource.ID]struct{}{}}
}

// get gives a copy of a resource, nil when there is none.
func (v *view) get(id resource.ID) resource.Resource {
	v.mu.RLock()
	defer v.mu.RUnlock()

	if r := v.known[id]; r != nil {
		return r.DeepCopy()
	}

	return nil
}

// list gives copies of the resources that match, by ID.
func (v *view) list(o state.ListOptions) []resource.Resource {
	v.mu.RLock()
	defer v.mu.RUnlock()

	var out []resource.Resource

	for _, r := range v.known {
		if o.IDQuery.Matches(*r.Metadata()) && o.LabelQueries.Matches(*r.Metadata().Labels()) {
			out = append(out, r.DeepCopy())
		}
	}

	slices.SortFunc(out, func(a, b resource.Resource) int { return strings.Compare(a.Metadata().ID(), b.Metadata().ID()) })

	return out
}

// expecting tells whether resources are missing that may still come back.
func (v *view) expecting() bool { return len(v.missing) > 0 }

// apply takes one event of a running subscription and appends what the watcher is to be told.
func (v *view) apply(out []state.Event, event state.Event) []state.Event {
	v.mu.Lock()
	defer v.mu.Unlock()

	if event.Resource == nil {
		return append(out, event)
	}

	id := event.Resource.Metadata().ID()

	switch event.Type {
	case state.Created, state.Updated:
		old := v.known[id]
		_, wasMissing := v.missing[id]

		v.known[id] = event.Resource
		delete(v.missing, id)

		if wasMissing {
			return appendDifference(out, old, event)
		}

		if event.Type == state.Updated && event.Old == nil {
			event.Old = old
		}
	case state.Destroyed:
		delete(v.known, id)
		delete(v.missing, id)
	case state.Bootstrapped, state.Errored, state.Noop:
	}

	return append(out, event)
}

// appendDifference tells of a resource that came back after its owner's restart.
func appendDifference(out []state.Event, old resource.Resource, event state.Event) []state.Event {
	if Same(old, event.Resource) {
		return out
	}

	return append(out, state.Event{Type: state.Updated, Resource: event.Resource, Old: old, Bookmark: event.Bookmark})
}

// replace compares a complete list with what is known, and gives the difference. What is not in the list is missing: it
// may come back until giveUp.
func (v *view) replace(list []resource.Resource) []state.Event {
	v.mu.Lock()
	defer v.mu.Unlock()

	var out []state.Event

	v.missing = make(map[resource.ID]struct{}, len(v.known))
	for id := range v.known {
		v.missing[id] = struct{}{}
	}

	for _, r := range list {
		id := r.Metadata().ID()
		old, known := v.known[id]

		v.known[id] = r
		delete(v.missing, id)

		if !known {
			out = append(out, state.Event{Type: state.Created, Resource: r})
		} else {
			out = appendDifference(out, old, state.Event{Resource: r})
		}
	}

	return out
}

// giveUp declares what is still missing destroyed.
func (v *view) giveUp() []state.Event {
	v.mu.Lock()
	defer v.mu.Unlock()

	out := make([]state.Event, 0, len(v.missing))

	for _, id := range slices.Sorted(maps.Keys(v.missing)) {
		out = append(out, state.Event{Type: state.Destroyed, Resource: v.known[id]})
		delete(v.known, id)
	}

	clear(v.missing)

	return out
}

// Same compares what resources say, not when or how often they were written: spec, phase, owner, labels, annotations and
// finalizers count, version and times do not.
func Same(a, b resource.Resource) bool {
	if a == nil || b == nil {
		return a == b
	}

	ma, mb := a.Metadata(), b.Metadata()

	return ma.Phase() == mb.Phase() &&
		ma.Owner() == mb.Owner() &&
		maps.Equal(ma.Labels().Raw(), mb.Labels().Raw()) &&
		maps.Equal(ma.Annotations().Raw(), mb.Annotations().Raw()) &&
		sameFinalizers(*ma.Finalizers(), *mb.Finalizers()) &&
		sameSpec(a, b)
}

// sameFinalizers compares as sets: their order is when they were added.
func sameFinalizers(a, b resource.Finalizers) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(f resource.Finalizer) bool { return !b.Has(f) })
}

func sameSpec(a, b resource.Resource) bool {
	pa, rawA := a.(*protobuf.Resource)
	pb, rawB := b.(*protobuf.Resource)

	if rawA && rawB {
		ma, errA := pa.Marshal()
		mb, errB := pb.Marshal()

		return errA == nil && errB == nil && bytes.Equal(ma.GetSpec().GetProtoSpec(), mb.GetSpec().GetProtoSpec())
	}

	if resource.IsTombstone(a) || resource.IsTombstone(b) {
		return resource.IsTombstone(a) == resource.IsTombstone(b)
	}

	if spec, ok := a.Spec().(interface{ Equal(any) bool }); ok {
		return spec.Equal(b.Spec())
	}

	return reflect.DeepEqual(a.Spec(), b.Spec())
}
