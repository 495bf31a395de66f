package metrics

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestCallsByMethodAndCode(t *testing.T) {
	var calls Calls

	for range 3 {
		calls.Count("/b", nil)
	}

	calls.Count("/a", status.Error(codes.NotFound, "no"))
	calls.Count("/b", status.Error(codes.NotFound, "no"))

	var got []string
	for _, sample := range calls.Family("calls_total", "").GetSamples() {
		got = append(got, fmt.Sprint(sample.GetLabels(), sample.GetValue()))
	}

	want := []string{"[method /a code NotFound] 1", "[method /b code NotFound] 1", "[method /b code OK] 3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStatOfAProcessWithAnOddName(t *testing.T) {
	used, resident, err := readStat("7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1000000 3 18446744073709551615 1")
	if err != nil || used != 3 || resident < 3*4096 {
		t.Errorf("%v s, %v bytes, %v", used, resident, err)
	}

	if _, _, err := readStat("7 (short) S"); err == nil {
		t.Error("a short line is taken")
	}
}

func TestEveryProcessHasFigures(t *testing.T) {
	names := map[string]bool{}
	for _, family := range slices.Concat(Process(), Runtime(), Controllers()) {
		names[family.GetName()] = true

		if n := len(family.GetSamples()); n > 0 && family.GetSamples()[0].GetValue() < 0 {
			t.Errorf("%s is %v", family.GetName(), family.GetSamples()[0])
		}
	}

	for _, want := range []string{
		"process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
		"go_goroutines", "go_memstats_heap_alloc_bytes", "go_memstats_sys_bytes", "go_memstats_alloc_bytes_total", "go_gc_cycles_total",
		"dactyl_reconciles_total", "dactyl_reconcile_failures_total",
	} {
		if !names[want] {
			t.Errorf("%s is not told", want)
		}
	}
}
