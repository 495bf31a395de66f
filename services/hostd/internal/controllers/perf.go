package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/perf"

	"github.com/dactyl-os/dactyl/services/hostd/internal/proc"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// perfEvery is how often the figures are taken: dashboards that want more ask the methods.
const perfEvery = 30 * time.Second

// Perf publishes figures of processors and memory. Inputs: the kernel. Outputs: CPUStats, MemoryStats.
type Perf struct{ Proc proc.FS }

// Name is the owner of the outputs.
func (*Perf) Name() string { return "hostd.Perf" }

// Inputs of the controller.
func (*Perf) Inputs() []controller.Input { return nil }

// Outputs of the controller.
func (*Perf) Outputs() []controller.Output {
	return []controller.Output{
		{Type: perf.CPUType, Kind: controller.OutputExclusive}, {Type: perf.MemoryType, Kind: controller.OutputExclusive},
	}
}

// Run until ctx ends.
func (c *Perf) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Timed(ctx, r, nil, func() (time.Duration, error) { return perfEvery, c.step(ctx, r) })
}

func (c *Perf) step(ctx context.Context, r controller.Runtime) error {
	stat, err := c.Proc.SystemStat()
	if err != nil {
		return fmt.Errorf("read processor figures: %w", err)
	}

	err = safe.WriterModify(ctx, r, perf.NewCPU(perf.NamespaceName, perf.CPUID), func(res *perf.CPU) error {
		*res.TypedSpec() = cpuSpec(stat)

		return nil
	})
	if err != nil {
		return err
	}

	info, err := c.Proc.Memory()
	if err != nil {
		return fmt.Errorf("read memory figures: %w", err)
	}

	memory, err := memorySpec(info)
	if err != nil {
		return err
	}

	return safe.WriterModify(ctx, r, perf.NewMemory(perf.NamespaceName, perf.MemoryID), func(res *perf.Memory) error {
		*res.TypedSpec() = memory

		return nil
	})
}

func cpuSpec(s *machine.SystemStat) perf.CPUSpec {
	out := perf.CPUSpec{
		CPUTotal: cpuStat(s.GetCpuTotal()), IRQTotal: s.GetIrqTotal(), ContextSwitches: s.GetContextSwitches(),
		ProcessCreated: s.GetProcessCreated(), ProcessRunning: s.GetProcessRunning(), ProcessBlocked: s.GetProcessBlocked(),
		SoftIRQTotal: s.GetSoftIrqTotal(),
	}

	for _, cpu := range s.GetCpu() {
		out.CPU = append(out.CPU, cpuStat(cpu))
	}

	return out
}

func cpuStat(c *machine.CPUStat) perf.CPUStat {
	return perf.CPUStat{
		User: c.GetUser(), Nice: c.GetNice(), System: c.GetSystem(), Idle: c.GetIdle(), Iowait: c.GetIowait(), IRQ: c.GetIrq(),
		SoftIRQ: c.GetSoftIrq(), Steal: c.GetSteal(), Guest: c.GetGuest(), GuestNice: c.GetGuestNice(),
	}
}

// memorySpec uses that both messages number their fields alike, but for the second: free there, used here.
func memorySpec(info *machine.MemInfo) (perf.MemorySpec, error) {
	var out perf.MemorySpec

	data, err := proto.Marshal(info)
	if err != nil {
		return out, fmt.Errorf("convert memory figures: %w", err)
	}

	if err = out.UnmarshalProto(data); err != nil {
		return out, fmt.Errorf("convert memory figures: %w", err)
	}

	out.MemUsed = info.GetMemtotal() - info.GetMemfree()

	return out, nil
}
