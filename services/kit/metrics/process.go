package metrics

import (
	"expvar"
	"fmt"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"
)

// started is when this process began, near enough.
var started = time.Now()

// ticks is the unit of processor time in /proc/PID/stat: USER_HZ, which is 100 on every architecture of ours.
const ticks = 100

// Process tells what the kernel counts for this process, under the names that Prometheus' own clients use. What /proc does
// not tell is left out.
func Process() []*kitv1.Family {
	families := []*kitv1.Family{
		Gauge("process_start_time_seconds", "Start of the process, in seconds since 1970.", Value(float64(started.UnixMilli())/1000)),
	}

	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		if used, resident, err := readStat(string(stat)); err == nil {
			families = append(families,
				Counter("process_cpu_seconds_total", "Processor time, in seconds.", Value(used)),
				Gauge("process_resident_memory_bytes", "Memory that the process has in RAM, program text included.", Value(resident)))
		}
	}

	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		families = append(families, Gauge("process_open_fds", "Open file descriptors.", Value(len(entries))))
	}

	return families
}

// readStat gives processor time in seconds and resident memory in bytes (proc_pid_stat(5)).
func readStat(stat string) (used, resident float64, err error) {
	// The name of the program may contain anything.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])

	const user, system, pages = 11, 12, 21 // of what follows the name
	if len(fields) <= pages {
		return 0, 0, fmt.Errorf("/proc/self/stat has %d fields", len(fields))
	}

	var values [3]float64
	for i, field := range []int{user, system, pages} {
		if values[i], err = strconv.ParseFloat(fields[field], 64); err != nil {
			return 0, 0, fmt.Errorf("/proc/self/stat: %w", err)
		}
	}

	return (values[0] + values[1]) / ticks, values[2] * float64(os.Getpagesize()), nil
}

// runtimeMetrics are Go's names and ours.
var runtimeMetrics = []struct {
	name, own, help string
	counter         bool
}{
	{"/sched/goroutines:goroutines", "go_goroutines", "Goroutines.", false},
	{"/memory/classes/heap/objects:bytes", "go_memstats_heap_alloc_bytes", "Objects on the heap, garbage that is not collected yet included.", false},
	{"/memory/classes/total:bytes", "go_memstats_sys_bytes", "Memory that the Go runtime has mapped.", false},
	{"/gc/heap/allocs:bytes", "go_memstats_alloc_bytes_total", "Memory allocated on the heap.", true},
	{"/gc/cycles/total:gc-cycles", "go_gc_cycles_total", "Garbage collections.", true},
}

// Runtime tells what the Go runtime counts.
func Runtime() []*kitv1.Family {
	samples := make([]metrics.Sample, len(runtimeMetrics))
	for i, m := range runtimeMetrics {
		samples[i].Name = m.name
	}

	metrics.Read(samples)

	families := make([]*kitv1.Family, 0, len(runtimeMetrics))

	for i, m := range runtimeMetrics {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			families = append(families, &kitv1.Family{
				Name: m.own, Help: m.help, Counter: m.counter, Samples: []*kitv1.Sample{Value(samples[i].Value.Uint64())},
			})
		}
	}

	return families
}

// Controllers tells how often controllers were run, and how often they failed: cosi's runtime counts both.
func Controllers() []*kitv1.Family {
	runs := Counter("dactyl_reconciles_total", "Runs of a controller's loop.")
	failures := Counter("dactyl_reconcile_failures_total", "Failures of a controller, which is started again.")

	for _, from := range []struct {
		variable string
		family   *kitv1.Family
	}{
		{"controller_wakeups", runs}, {"qcontroller_processed", runs},
		{"controller_crashes", failures}, {"qcontroller_crashes", failures},
	} {
		counts, ok := expvar.Get(from.variable).(*expvar.Map)
		if !ok {
			continue
		}

		counts.Do(func(count expvar.KeyValue) {
			if value, ok := count.Value.(*expvar.Int); ok {
				from.family.Samples = append(from.family.Samples, Value(value.Value(), "controller", count.Key))
			}
		})
	}

	return []*kitv1.Family{runs, failures}
}
