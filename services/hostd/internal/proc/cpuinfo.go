package proc

import (
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/proto/machine"
)

// CPUInfo is /proc/cpuinfo, in the words of x86; other architectures have a part of it.
func (fs FS) CPUInfo() ([]*machine.CPUInfo, error) {
	data, err := fs.read("cpuinfo")
	if err != nil {
		return nil, err
	}

	var (
		out []*machine.CPUInfo
		cpu *machine.CPUInfo
	)

	for scan := lines(data); scan.Scan(); {
		key, value, ok := strings.Cut(scan.Text(), ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)

		if !ok {
			continue
		}

		if key == "processor" {
			cpu = &machine.CPUInfo{}
			out = append(out, cpu)
		}

		if cpu != nil {
			setCPU(cpu, key, value)
		}
	}

	return out, nil
}

func setCPU(c *machine.CPUInfo, key, value string) {
	texts := map[string]*string{
		"vendor_id": &c.VendorId, "cpu family": &c.CpuFamily, "model": &c.Model, "model name": &c.ModelName,
		"stepping": &c.Stepping, "microcode": &c.Microcode, "cache size": &c.CacheSize, "physical id": &c.PhysicalId,
		"core id": &c.CoreId, "apicid": &c.ApicId, "initial apicid": &c.InitialApicId, "fpu": &c.Fpu,
		"fpu_exception": &c.FpuException, "wp": &c.Wp, "address sizes": &c.AddressSizes, "power management": &c.PowerManagement,
		// arm64
		"CPU implementer": &c.VendorId, "CPU architecture": &c.CpuFamily, "CPU part": &c.Model, "CPU revision": &c.Stepping,
	}
	numbers := map[string]*uint32{
		"processor": &c.Processor, "siblings": &c.Siblings, "cpu cores": &c.CpuCores, "cpuid level": &c.CpuIdLevel,
		"clflush size": &c.ClFlushSize, "cache_alignment": &c.CacheAlignment,
	}

	switch {
	case texts[key] != nil:
		*texts[key] = value
	case numbers[key] != nil:
		n, _ := strconv.ParseUint(value, 10, 32)
		*numbers[key] = uint32(n)
	case key == "cpu MHz":
		c.CpuMhz, _ = strconv.ParseFloat(value, 64)
	case key == "bogomips", key == "BogoMIPS":
		c.BogoMips, _ = strconv.ParseFloat(value, 64)
	case key == "flags", key == "Features":
		c.Flags = strings.Fields(value)
	case key == "bugs":
		c.Bugs = strings.Fields(value)
	}
}
