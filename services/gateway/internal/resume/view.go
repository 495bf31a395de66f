// Package resume lets a watch of resources outlive their owner: it remembers what a watcher was told and says, of the list that a
// restarted owner gives, what is news. It is pure: messages in, messages out.
package resume

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/cosi-project/runtime/api/v1alpha1"
)

// View is what the watcher of one request was told.
type View struct {
	request *v1alpha1.WatchRequest
	// afford asks whether so many bytes more may be remembered.
	afford func(size int) bool

	known map[string]entry
	// listing holds while a restarted owner tells what there is; seen is what it has told.
	listing bool
	seen    map[string]bool
	// missing are resources that a restarted owner has not published again yet.
	missing map[string]bool
	// lost is set when the view does not hold all that the watcher knows.
	lost bool
}

// entry is one resource: what it says, and who it is, for the event that tells of its end.
type entry struct {
	digest uint64
	head   *v1alpha1.Resource
}

// New gives the view of a request, nil when its watch cannot be taken up again: of changes only, or from a bookmark.
func New(request []byte, afford func(size int) bool) *View {
	in := new(v1alpha1.WatchRequest)
	if proto.Unmarshal(request, in) != nil {
		return nil
	}

	options := in.GetOptions()
	if options.GetTailEvents() != 0 || options.GetStartFromBookmark() != nil || (in.Id == nil && !options.GetBootstrapContents()) {
		return nil
	}

	return &View{request: in, afford: afford, known: map[string]entry{}}
}

// Told notes a message that the watcher gets as it is.
func (v *View) Told(message []byte) {
	response := new(v1alpha1.WatchResponse)
	if err := proto.Unmarshal(message, response); err != nil {
		v.lost = true

		return
	}

	for _, event := range response.GetEvent() {
		v.note(event)
	}
}

// Again gives the request that asks the restarted owner for all there is, nil when the view does not hold what the watcher knows.
func (v *View) Again() []byte {
	if v.lost {
		return nil
	}

	request := proto.CloneOf(v.request)
	if request.Options == nil {
		request.Options = &v1alpha1.WatchOptions{}
	}

	request.ApiVersion = 1
	request.Options.BootstrapBookmark = false
	v.listing, v.seen, v.missing = true, map[string]bool{}, nil

	out, err := proto.Marshal(request)
	if err != nil {
		return nil
	}

	return out
}

// News gives what the watcher is to be told of a message that the restarted owner sent, as messages of their own. waits says
// that something is missing, which counts as destroyed when it has not come back after a while: see Gone.
func (v *View) News(message []byte) (news [][]byte, waits bool) {
	response := new(v1alpha1.WatchResponse)
	if err := proto.Unmarshal(message, response); err != nil {
		v.lost = true

		return nil, false
	}

	var events []*v1alpha1.Event

	for _, event := range response.GetEvent() {
		if v.listing {
			event, waits = v.listed(event), len(v.missing) > 0
		} else {
			event = v.changed(event)
		}

		if event != nil {
			events = append(events, event)
		}
	}

	return v.pack(events), waits
}

// Gone gives the end of all that is still missing.
func (v *View) Gone() [][]byte {
	var events []*v1alpha1.Event

	for _, id := range slices.Sorted(maps.Keys(v.missing)) {
		events = append(events, &v1alpha1.Event{EventType: v1alpha1.EventType_DESTROYED, Resource: v.known[id].head})
		v.forget(id)
	}

	v.missing = nil

	return v.pack(events)
}

// listed takes an event of the list that a restarted owner gives.
func (v *View) listed(event *v1alpha1.Event) *v1alpha1.Event {
	id := event.GetResource().GetMetadata().GetId()

	switch event.GetEventType() {
	case v1alpha1.EventType_BOOTSTRAPPED:
		v.complete()

		return nil
	case v1alpha1.EventType_DESTROYED:
		// The one resource of the watch is not there.
		v.complete()

		return nil
	case v1alpha1.EventType_CREATED:
		v.seen[id] = true

		out := v.compared(event)

		if v.request.Id != nil {
			v.complete()
		}

		return out
	default:
		return nil
	}
}

func (v *View) complete() {
	v.listing, v.missing = false, map[string]bool{}

	for id := range v.known {
		if !v.seen[id] {
			v.missing[id] = true
		}
	}

	v.seen = nil
}

// changed takes an event after the list.
func (v *View) changed(event *v1alpha1.Event) *v1alpha1.Event {
	id := event.GetResource().GetMetadata().GetId()
	old := v.request.GetApiVersion() < 1

	switch event.GetEventType() {
	case v1alpha1.EventType_CREATED:
		delete(v.missing, id)

		return v.compared(event)
	case v1alpha1.EventType_DESTROYED, v1alpha1.EventType_UPDATED:
		delete(v.missing, id)
		v.note(event)

		return event
	case v1alpha1.EventType_ERRORED:
		if old {
			return nil
		}

		return event
	default:
		return nil
	}
}

// compared gives what a resource that an owner has published again is to a watcher: nothing, an update, or news.
func (v *View) compared(event *v1alpha1.Event) *v1alpha1.Event {
	before, known := v.known[event.GetResource().GetMetadata().GetId()]
	v.note(event)

	switch {
	case !known:
		return event
	case before.digest == digest(event.GetResource()):
		return nil
	default:
		event.EventType, event.Old = v1alpha1.EventType_UPDATED, before.head

		return event
	}
}

func (v *View) note(event *v1alpha1.Event) {
	id := event.GetResource().GetMetadata().GetId()

	switch event.GetEventType() {
	case v1alpha1.EventType_CREATED, v1alpha1.EventType_UPDATED:
		v.forget(id)

		if v.lost || !v.afford(cost(event.GetResource())) {
			v.lost, v.known = true, nil

			return
		}

		head := &v1alpha1.Resource{Metadata: event.GetResource().GetMetadata(), Spec: &v1alpha1.Spec{}}
		v.known[id] = entry{digest: digest(event.GetResource()), head: head}
	case v1alpha1.EventType_DESTROYED:
		v.forget(id)
	default:
	}
}

func (v *View) forget(id string) {
	if old, ok := v.known[id]; ok {
		v.afford(-cost(old.head))
		delete(v.known, id)
	}
}

// cost is about what an entry takes, in bytes.
func cost(resource *v1alpha1.Resource) int {
	const structs = 512

	return structs + proto.Size(resource.GetMetadata())
}

// pack makes messages as the watcher asked for them: of many events, or of one each.
func (v *View) pack(events []*v1alpha1.Event) [][]byte {
	var responses []*v1alpha1.WatchResponse

	switch {
	case len(events) == 0:
	case v.request.GetOptions().GetAggregated():
		responses = []*v1alpha1.WatchResponse{{Event: events}}
	default:
		for _, event := range events {
			responses = append(responses, &v1alpha1.WatchResponse{Event: []*v1alpha1.Event{event}})
		}
	}

	out := make([][]byte, 0, len(responses))

	for _, response := range responses {
		if data, err := proto.Marshal(response); err == nil {
			out = append(out, data)
		}
	}

	return out
}

var seed = maphash.MakeSeed()

// digest is of what a resource says, not of when or how often it was written.
func digest(resource *v1alpha1.Resource) uint64 {
	metadata := proto.CloneOf(resource.GetMetadata())
	if metadata != nil {
		metadata.Version, metadata.Created, metadata.Updated = "", nil, nil
		slices.Sort(metadata.GetFinalizers())
	}

	hash := maphash.Hash{}
	hash.SetSeed(seed)

	says, _ := proto.MarshalOptions{Deterministic: true}.Marshal(metadata) // messages always marshal

	for _, part := range [][]byte{says, resource.GetSpec().GetProtoSpec(), []byte(resource.GetSpec().GetYamlSpec())} {
		_, _ = hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		_, _ = hash.Write(part)
	}

	return hash.Sum64()
}
