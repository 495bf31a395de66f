package daemon_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/cosi-project/runtime/pkg/state"

	timeapi "github.com/dactyl-os/dactyl/proto/time"

	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// BenchmarkUnary calls a trivial method over the socket: client and daemon share the machine's cores.
func BenchmarkUnary(b *testing.B) {
	d := kittest.Start(b, pkg, kittest.Options{Args: []string{"--log-level", "info"}, Env: strings.Fields(os.Getenv("BENCH_ENV"))})
	api := timeapi.NewTimeServiceClient(d.Conn())

	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			spread(b, d, callers, func() error {
				_, err := api.Time(b.Context(), &emptypb.Empty{})

				return err
			})
		})
	}
}

// BenchmarkState reads resources over the socket as a client that prints them does.
func BenchmarkState(b *testing.B) {
	d := kittest.Start(b, pkg, kittest.Options{Args: []string{"--log-level", "info"}, Env: append(strings.Fields(os.Getenv("BENCH_ENV")), "TEST_ITEMS=135")})
	st := stateOf(d.Conn())

	kittest.Await(b, 5*time.Second, "135 items", func() bool {
		list, err := st.List(b.Context(), pointer(testdaemon.ItemType, ""))

		return err == nil && len(list.Items) == 135
	})

	b.Run("get", func(b *testing.B) {
		spread(b, d, 1, func() error {
			_, err := st.Get(b.Context(), pointer(testdaemon.ItemType, "item-007"), state.WithGetUnmarshalOptions(state.WithSkipProtobufUnmarshal()))

			return err
		})
	})

	b.Run("list-135", func(b *testing.B) {
		spread(b, d, 1, func() error {
			_, err := st.List(b.Context(), pointer(testdaemon.ItemType, ""), state.WithListUnmarshalOptions(state.WithSkipProtobufUnmarshal()))

			return err
		})
	})
}

// BenchmarkStart is from exec to an answer.
func BenchmarkStart(b *testing.B) {
	d := kittest.Start(b, pkg, kittest.Options{Args: []string{"--log-level", "info"}, Env: strings.Fields(os.Getenv("BENCH_ENV"))})

	for b.Loop() {
		d.Restart()
	}
}

// BenchmarkIdleMemory reports what an idle daemon holds.
func BenchmarkIdleMemory(b *testing.B) {
	d := kittest.Start(b, pkg, kittest.Options{Args: []string{"--log-level", "info"}, Env: strings.Fields(os.Getenv("BENCH_ENV"))})
	time.Sleep(2 * time.Second)

	for b.Loop() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", d.PID()))
		if err != nil {
			b.Fatal(err)
		}

		for _, line := range strings.Split(string(data), "\n") {
			var kb float64
			if _, err := fmt.Sscanf(line, "Pss_Anon: %f", &kb); err == nil {
				b.ReportMetric(kb, "anon-kB")
			}

			if _, err := fmt.Sscanf(line, "Pss_File: %f", &kb); err == nil {
				b.ReportMetric(kb, "file-kB")
			}
		}
	}
}

// cpu is the processor time that the daemon has used: the machine may be busy with other things.
func cpu(b *testing.B, d *kittest.Daemon) time.Duration {
	b.Helper()

	var total time.Duration

	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", d.PID()))
	if err != nil {
		b.Fatal(err)
	}

	for _, task := range tasks {
		var ran int64

		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", d.PID(), task.Name()))
		if _, err := fmt.Sscan(string(data), &ran); err == nil {
			total += time.Duration(ran)
		}
	}

	return total
}

// spread makes b.N calls from several callers and reports rate and percentiles.
func spread(b *testing.B, d *kittest.Daemon, callers int, call func() error) {
	b.Helper()

	var (
		mu   sync.Mutex
		took = make([]time.Duration, 0, b.N)
		next = make(chan struct{}, b.N)
		wait sync.WaitGroup
	)

	for range b.N {
		next <- struct{}{}
	}

	close(next)

	before := cpu(b, d)

	b.ResetTimer()

	for range callers {
		wait.Go(func() {
			own := make([]time.Duration, 0, b.N/callers+1)

			for range next {
				begin := time.Now()

				if err := call(); err != nil {
					b.Error(err)

					return
				}

				own = append(own, time.Since(begin))
			}

			mu.Lock()
			took = append(took, own...)
			mu.Unlock()
		})
	}

	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b, d)-before).Nanoseconds())/1e3/float64(b.N), "daemon-µs/op")
	slices.Sort(took)

	if len(took) > 0 {
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "calls/s")
	}
}
