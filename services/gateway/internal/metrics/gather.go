// Package metrics tells the figures of every daemon of the node to those who may read them, as Prometheus asks for them.
package metrics

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"
	"github.com/dactyl-os/dactyl/services/kit/metrics"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

// patience is how long a daemon may take to answer; one that hangs is told as down.
const patience = 2 * time.Second

// Source knows the daemons of the node.
type Source struct {
	RunDir string
	// Daemons are the names of all there may be; those without a socket are not on this node.
	Daemons []string
	Dial    func(daemon string) (*grpc.ClientConn, error)
	// Self is the gateway's name, and Own its own figures, which it does not ask over a socket.
	Self string
	Own  func() []*kitv1.Family
}

// Gather asks every daemon at once. Each figure carries the daemon's name; dactyl_up says who has answered.
func (s Source) Gather(ctx context.Context) []*kitv1.Family {
	ctx, cancel := context.WithTimeout(peer.AsSelf(ctx), patience)
	defer cancel()

	var (
		group  sync.WaitGroup
		mu     sync.Mutex
		all    = map[string]*kitv1.Family{}
		up     = metrics.Gauge("dactyl_up", "1 for a daemon that tells its figures, 0 for one that does not answer.")
		answer = func(daemon string, families []*kitv1.Family, err error) {
			mu.Lock()
			defer mu.Unlock()

			merge(all, daemon, families)

			good := 1
			if err != nil {
				good = 0
			}

			up.Samples = append(up.Samples, metrics.Value(good, "daemon", daemon))
		}
	)

	for _, daemon := range s.Daemons {
		// The gateway may use the sockets, and not list what else is beside them.
		if _, err := os.Stat(filepath.Join(s.RunDir, daemon+".sock")); err != nil || daemon == s.Self {
			continue
		}

		group.Go(func() {
			families, err := s.ask(ctx, daemon)
			answer(daemon, families, err)
		})
	}

	answer(s.Self, s.Own(), nil)
	group.Wait()

	all[up.GetName()] = up

	return slices.SortedFunc(maps.Values(all), func(a, b *kitv1.Family) int { return strings.Compare(a.GetName(), b.GetName()) })
}

func (s Source) ask(ctx context.Context, daemon string) ([]*kitv1.Family, error) {
	conn, err := s.Dial(daemon)
	if err != nil {
		return nil, err
	}

	answer, err := kitv1.NewMetricsServiceClient(conn).Metrics(ctx, &kitv1.MetricsRequest{})

	return answer.GetFamilies(), err
}

// merge adds one daemon's figures to those of all.
func merge(all map[string]*kitv1.Family, daemon string, families []*kitv1.Family) {
	for _, family := range families {
		for _, sample := range family.GetSamples() {
			sample.Labels = append([]string{"daemon", daemon}, sample.GetLabels()...)
		}

		if known, ok := all[family.GetName()]; ok {
			known.Samples = append(known.Samples, family.GetSamples()...)
		} else {
			all[family.GetName()] = family
		}
	}
}
