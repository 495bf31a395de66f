package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// patience bounds the wait for acknowledgments: what counts is that one came just before the cut.
const patience = 20 * time.Second

// writer sends one value after the other and remembers which of them were acknowledged.
type writer struct {
	name string
	// many bounds how many acknowledgments are awaited before a cut.
	many int
	// pause lets the others write, too.
	pause time.Duration
	put   func(ctx context.Context, n int) error
	// verify compares what is there with what was acknowledged, and tells how many values it looked at.
	verify func(ctx context.Context, w *writer, all bool) (int, error)

	sent         int
	acknowledged []int
	// verified are the first of acknowledged that were compared after an earlier cut.
	verified int
	told     chan struct{}
	err      error
}

// write starts all writers, which rest after the cut.
func (p *powerCuts) write(t *testing.T) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())

	var all sync.WaitGroup

	for _, w := range p.writers {
		w.told = make(chan struct{}, 1)

		all.Go(func() { w.run(ctx) })
	}

	p.rest = func() {
		cancel()
		all.Wait()

		for _, w := range p.writers {
			if w.err != nil {
				t.Logf("%s: not acknowledged, which is allowed: %v", w.name, w.err)
			}

			w.err = nil
		}
	}
}

func (w *writer) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.sent++

		switch err := w.put(ctx, w.sent); {
		case err == nil:
			w.acknowledged = append(w.acknowledged, w.sent)

			select {
			case w.told <- struct{}{}:
			default:
			}
		case ctx.Err() == nil:
			w.err = err
		}

		select {
		case <-ctx.Done():
		case <-time.After(w.pause):
		}
	}
}

// await waits until some more values were acknowledged, at least one.
func (w *writer) await(t *testing.T, more int) {
	t.Helper()

	for begun := time.Now(); more > 0; more-- {
		select {
		case <-w.told:
		case <-time.After(bootLimit):
			t.Fatalf("%s: nothing is acknowledged", w.name)
		}

		if time.Since(begun) > patience {
			return
		}
	}
}

func (w *writer) check(ctx context.Context, all bool) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()

	n, err := w.verify(ctx, w, all)
	w.verified = len(w.acknowledged)

	return n, err
}

// last is the newest acknowledged value, 0 if there is none.
func (w *writer) last() int {
	if len(w.acknowledged) == 0 {
		return 0
	}

	return w.acknowledged[len(w.acknowledged)-1]
}

// counted checks a single value that is replaced: it is one that was sent, and none older than the last acknowledged one.
func (w *writer) counted(text, number string, value func(int) string) error {
	n, err := strconv.Atoi(number)

	switch {
	case err != nil || n != 0 && text != value(n):
		return fmt.Errorf("a value that was never sent: %.200q", text)
	case n < w.last():
		return fmt.Errorf("value %d is lost: there is %d", w.last(), n)
	case n > w.sent:
		return fmt.Errorf("value %d before it was sent", n)
	default:
		return nil
	}
}

// makeWriters are what writes at the same time. The machine has no API that writes files; what is large goes to etcd.
func (p *powerCuts) makeWriters(t *testing.T) []*writer {
	t.Helper()

	admin, err := p.Client()
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = admin.Close() })

	return []*writer{
		metaWriter(admin, 0x0c), metaWriter(admin, 0x0d), metaWriter(admin, 0x0e),
		configWriter(admin, p.ctl(t, "read", "/system/state/config.yaml"), func() string { return p.ctl(t, "read", "/system/state/config.yaml") }),
		etcdWriter(p.db, "large", 4, large), etcdWriter(p.db, "small", 20, small),
	}
}

func metaWriter(c *client.Client, key uint32) *writer {
	// Values of very different lengths.
	value := func(n int) string { return fmt.Sprintf("%d of %#02x %s", n, key, strings.Repeat("m", n*397%6000)) }

	return &writer{
		name: fmt.Sprintf("META key %#02x", key), many: 10, pause: 100 * time.Millisecond,
		put: func(ctx context.Context, n int) error {
			_, err := c.Machine.MetaWrite(ctx, &machine.MetaWriteRequest{Key: key, Value: []byte(value(n))})

			return err
		},
		verify: func(ctx context.Context, w *writer, _ bool) (int, error) {
			if w.sent == 0 {
				return 0, nil
			}

			r, err := safe.StateGetByID[*runtime.MetaKey](ctx, state.WrapCore(c.State), fmt.Sprintf("%#02x", key))
			if state.IsNotFoundError(err) && w.last() == 0 {
				return 1, nil
			}

			if err != nil {
				return 0, err
			}

			number, _, _ := strings.Cut(r.TypedSpec().Value, " ")

			return 1, w.counted(r.TypedSpec().Value, number, value)
		},
	}
}

const countedPatch = `{"machine": {"nodeLabels": {"powercut": "n0"}}}`

// configWriter applies configurations that differ in a label and in their length.
func configWriter(c *client.Client, base string, stored func() string) *writer {
	const label = `powercut: "n`

	value := func(n int) string {
		return strings.Replace(base, label+"0", label+strconv.Itoa(n), 1) + strings.Repeat("# a line to make it longer\n", n%50)
	}

	return &writer{
		name: "the configuration", many: 3, pause: 2 * time.Second,
		put: func(ctx context.Context, n int) error {
			_, err := c.Machine.ApplyConfiguration(ctx,
				&machine.ApplyConfigurationRequest{Data: []byte(value(n)), Mode: machine.ApplyConfigurationRequest_NO_REBOOT})

			return err
		},
		verify: func(_ context.Context, w *writer, _ bool) (int, error) {
			text := stored()
			_, rest, _ := strings.Cut(text, label)
			number, _, _ := strings.Cut(rest, `"`)

			return 1, w.counted(text, number, value)
		},
	}
}

// large is 1 MiB, another for each number.
func large(n int) []byte {
	data := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8(sha256.Sum256(strconv.AppendInt(nil, int64(n), 10))).Read(data) // never an error

	return data
}

func small(n int) []byte { return fmt.Appendf(nil, "value %d", n) }

// etcdWriter puts values under keys of their own.
func etcdWriter(db *clientv3.Client, name string, many int, value func(int) []byte) *writer {
	prefix := "/powercut/" + name + "/"
	key := func(n int) string { return fmt.Sprintf("%s%08d", prefix, n) }

	return &writer{
		name: "etcd's " + name + " values", many: many, pause: 20 * time.Millisecond,
		put: func(ctx context.Context, n int) error {
			_, err := db.Put(ctx, key(n), string(value(n)))

			return err
		},
		verify: func(ctx context.Context, w *writer, all bool) (int, error) {
			list, err := db.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
			if err != nil {
				return 0, err
			}

			there := map[string]bool{}
			for _, kv := range list.Kvs {
				there[string(kv.Key)] = true
			}

			for _, n := range w.acknowledged {
				if !there[key(n)] {
					return 0, fmt.Errorf("value %d is lost (%d of %d are there)", n, len(there), len(w.acknowledged))
				}
			}

			// The bytes of what is new, and of all at the end.
			compare := w.acknowledged
			if !all {
				compare = compare[w.verified:]
			}

			for _, n := range compare {
				got, err := db.Get(ctx, key(n))
				if err != nil {
					return 0, err
				}

				if len(got.Kvs) != 1 || !bytes.Equal(got.Kvs[0].Value, value(n)) {
					return 0, fmt.Errorf("value %d has other bytes", n)
				}
			}

			return len(compare), nil
		},
	}
}

// etcd is a client of the machine's etcd with its own admin certificate.
func (p *powerCuts) etcd(t *testing.T) *clientv3.Client {
	t.Helper()

	file := func(name string) []byte { return []byte(p.ctl(t, "read", "/system/secrets/etcd/"+name)) }

	pair, err := tls.X509KeyPair(file("admin.crt"), file("admin.key"))
	if err != nil {
		t.Fatal(err)
	}

	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(file("ca.crt")) {
		t.Fatal("etcd's CA is no certificate")
	}

	db, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + p.Address + ":2379"}, Logger: zap.NewNop(), DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 4 * time.Second,
		TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = db.Close() })

	return db
}
