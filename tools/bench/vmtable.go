package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// virtual boots so many virtual machines one after another and adds what they took, beside the goals and the figures of the
// reference system (shared/reference/baseline.md).
func virtual(ctx context.Context, t *table, runs int, settle time.Duration) error {
	var all []boots
	for run := range runs {
		fmt.Fprintf(os.Stderr, "bench: virtual machine %d of %d\n", run+1, runs)
		b, err := bootOnce(ctx, settle)
		if err != nil {
			return err
		}
		all = append(all, b)
	}

	for _, row := range []struct {
		what, target string
		of           func(boots) time.Duration
	}{
		{"QEMU start to init's first line (kernel, unpacking, stage1)", "reference: 4.8 s from the kernel's start", func(b boots) time.Duration { return b.kernel }},
		{"init's first line to the maintenance API", "at most 10 s (reference: 27 s)", func(b boots) time.Duration { return b.maintenance }},
		{"QEMU start to the maintenance API", "reference: 33 s", func(b boots) time.Duration { return b.kernel + b.maintenance }},
		{"configuration applied to stage running, etcd bootstrapped", "", func(b boots) time.Duration { return b.running }},
		{"with its configuration: QEMU start to init's first line", "", func(b boots) time.Duration { return b.warmKernel }},
		{"with its configuration: init's first line to the API", "", func(b boots) time.Duration { return b.warmAPI }},
	} {
		var s samples
		for _, b := range all {
			s = append(s, row.of(b))
		}
		t.add(row.what, s.seconds(), row.target)
	}

	waiting, used := make([]float64, 0, runs), make([]float64, 0, runs)
	cost := make([]map[string]float64, 0, runs)
	memory := make([]map[string]float64, 0, runs)
	for _, b := range all {
		waiting, used = append(waiting, float64(b.waiting)/1e6), append(used, float64(b.used)/1e6)
		cost, memory = append(cost, b.cost), append(memory, b.memory)
	}
	t.add(fmt.Sprintf("guest memory used %s after the maintenance API", settle), fmt.Sprintf("%.0f MB", median(waiting)), "at most 200 MB (reference: 308 MB)")
	t.add(fmt.Sprintf("guest memory used %s after stage running, with etcd", settle), fmt.Sprintf("%.0f MB", median(used)), "")
	t.add("memory by daemon's cgroup, program text with whoever read it first, MB", byName(memory, 1e-6), "")
	t.add("processor time until the maintenance API by daemon, s", byName(cost, 1), "")

	return imageSizes(ctx, t)
}

// imageSizes adds what `make image-sizes` tells of the image that was booted.
func imageSizes(ctx context.Context, t *table) error {
	fmt.Fprintln(os.Stderr, "bench: packing each part of the image alone")
	r := outside.Run(ctx, "make", "-s", "-C", outside.Repository(), "image-sizes")
	if r.Err != nil {
		return fmt.Errorf("%s", r)
	}

	var root float64
	var parts []string
	for line := range strings.Lines(r.Stdout) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 {
			continue
		}
		name := strings.TrimSpace(cells[1])
		bytes, err := strconv.ParseFloat(strings.TrimSpace(cells[3]), 64)
		packed, notPacked := strconv.ParseFloat(strings.TrimSpace(cells[4]), 64)
		switch {
		case err != nil:
		case notPacked != nil:
			t.add(name, fmt.Sprintf("%.1f MB", bytes/1e6), "")
		default:
			parts = append(parts, fmt.Sprintf("%s %.1f", name, packed/1e6))
			if name != "kernel modules" {
				root += packed
			}
		}
	}
	if len(parts) == 0 {
		return fmt.Errorf("image-sizes tells of no part: %s", r)
	}
	t.add("root file system without kernel modules, packed", fmt.Sprintf("%.1f MB", root/1e6), "at most 48 MB (reference: 49 MB)")
	t.add("parts of it, packed, MB", strings.Join(parts, "; "), "")

	return nil
}

// seconds is the median and the range.
func (s samples) seconds() string {
	return fmt.Sprintf("%.1f s [%.1f–%.1f]", s.median().Seconds(), slices.Min(s).Seconds(), slices.Max(s).Seconds())
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))

	return sorted[len(sorted)/2]
}

// byName gives the median of each name over all runs, and their sum.
func byName(runs []map[string]float64, scale float64) string {
	var out []string
	var sum float64
	for _, name := range slices.Sorted(maps.Keys(runs[0])) {
		var values []float64
		for _, run := range runs {
			values = append(values, run[name]*scale)
		}
		out, sum = append(out, fmt.Sprintf("%s %.1f", name, median(values))), sum+median(values)
	}

	return strings.Join(out, "; ") + fmt.Sprintf("; together %.1f", sum)
}

// numbers reads "configd 0.61 s, hostd 1.43 s".
func numbers(text string) map[string]float64 {
	out := map[string]float64{}
	for _, match := range regexp.MustCompile(`([a-z]+) ([0-9.]+) s`).FindAllStringSubmatch(text, -1) {
		if value, err := strconv.ParseFloat(match[2], 64); err == nil {
			out[match[1]] = value
		}
	}

	return out
}
