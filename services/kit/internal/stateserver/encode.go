package stateserver

import (
	"sync"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
)

// form is one way to encode a resource.
type form int

const (
	// full carries the YAML text that clients print.
	full form = iota
	// lean leaves it out: daemons decode the protobuf spec, and YAML is nine tenths of the encoding time.
	lean
	// redacted is full or lean after the type's redaction; kept apart from what it hides.
	redactedFull
	redactedLean
	forms
)

func formOf(wantLean, redact bool) form {
	switch {
	case redact && wantLean:
		return redactedLean
	case redact:
		return redactedFull
	case wantLean:
		return lean
	default:
		return full
	}
}

type key struct{ ns, typ, id string }

// encoded is a resource version with the forms asked for so far.
type encoded struct {
	version          uint64
	created, updated time.Time
	bytes            [forms][]byte
}

func (e *encoded) is(md *resource.Metadata) bool {
	return e != nil && e.version == md.Version().Value() && e.created.Equal(md.Created()) && e.updated.Equal(md.Updated())
}

// cache keeps the encoded form of the newest version of each resource and of the one before, which updates refer to.
type cache struct {
	mu      sync.RWMutex
	entries map[key]*[2]*encoded
}

func newCache() *cache { return &cache{entries: map[key]*[2]*encoded{}} }

func keyOf(p resource.Pointer) key { return key{p.Namespace(), p.Type(), p.ID()} }

// forget drops a destroyed resource.
func (c *cache) forget(p resource.Pointer) {
	c.mu.Lock()
	defer c.mu.Unlock()

	delete(c.entries, keyOf(p))
}

// get gives the encoded v1alpha1.Resource, from the cache when this version was encoded before.
func (c *cache) get(r resource.Resource, f form, redact Redactor) ([]byte, error) {
	md := r.Metadata()
	if resource.IsTombstone(r) {
		return encode(r, f)
	}

	if data := c.find(md, f); data != nil {
		return data, nil
	}

	subject := r

	if f == redactedFull || f == redactedLean {
		var err error
		if subject, err = redact(r.DeepCopy()); err != nil {
			return nil, err
		}
	}

	data, err := encode(subject, f)
	if err != nil {
		return nil, err
	}

	c.put(md, f, data)

	return data, nil
}

func (c *cache) find(md *resource.Metadata, f form) []byte {
	c.mu.RLock()
	defer c.mu.RUnlock()

	pair, ok := c.entries[keyOf(md)]
	if !ok {
		return nil
	}

	for _, e := range pair {
		if e.is(md) {
			return e.bytes[f]
		}
	}

	return nil
}

func (c *cache) put(md *resource.Metadata, f form, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()

	pair := c.entries[keyOf(md)]
	if pair == nil {
		pair = &[2]*encoded{}
		c.entries[keyOf(md)] = pair
	}

	for _, e := range pair {
		if e.is(md) {
			e.bytes[f] = data

			return
		}
	}

	// An older version than the newest goes to the second place, if it is not older than what is there.
	e := &encoded{version: md.Version().Value(), created: md.Created(), updated: md.Updated()}
	e.bytes[f] = data

	if pair[0] != nil && pair[0].created.Equal(e.created) && e.version < pair[0].version {
		pair[1] = e

		return
	}

	pair[0], pair[1] = e, pair[0]
}

// texter is a spec that is YAML text already, which no encoder could give back as it was written.
type texter interface{ YAMLText() string }

func encode(r resource.Resource, f form) ([]byte, error) {
	var opts []protobuf.FromResourceOption
	if f == lean || f == redactedLean {
		opts = append(opts, protobuf.WithoutYAML())
	}

	p, err := protobuf.FromResource(r, opts...)
	if err != nil {
		return nil, err
	}

	m, err := p.Marshal()
	if err != nil {
		return nil, err
	}

	if m.GetSpec().GetYamlSpec() != "" { // neither lean nor a tombstone
		if spec, ok := r.Spec().(texter); ok {
			m.Spec.YamlSpec = spec.YAMLText()
		}
	}

	return m.MarshalVT()
}
