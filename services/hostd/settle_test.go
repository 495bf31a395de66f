package hostd

import (
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/cmdline"
)

func TestSettleTime(t *testing.T) {
	for line, want := range map[string]struct {
		settle time.Duration
		err    string
	}{
		"quiet":                         {},
		"talos.device.settle_time=3s":   {settle: 3 * time.Second},
		"talos.device.settle_time=1m0s": {settle: time.Minute},
		"talos.device.settle_time=3":    {err: "talos.device.settle_time=3: want a time such as 3s"},
		"talos.device.settle_time=soon": {err: "talos.device.settle_time=soon: want a time"},
		"talos.device.settle_time=-3s":  {err: "not negative"},
	} {
		settle, err := settleTime(cmdline.Parse(line))
		if settle != want.settle || (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("%s: %s, %v", line, settle, err)
		}
	}
}
