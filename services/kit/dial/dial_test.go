package dial_test

import (
	"encoding/json"
	"slices"
	"testing"

	_ "github.com/cosi-project/runtime/api/v1alpha1" // methods to read
	_ "github.com/dactyl-os/dactyl/proto/machine"    // methods to read

	"github.com/dactyl-os/dactyl/services/kit/dial"
)

// TestRetriesOnlyWhatIsIdempotent reads the configuration as gRPC does.
func TestRetriesOnlyWhatIsIdempotent(t *testing.T) {
	var config struct {
		MethodConfig []struct {
			Name        []struct{ Service, Method string }
			RetryPolicy *struct{ RetryableStatusCodes []string }
		}
	}

	if err := json.Unmarshal([]byte(dial.ServiceConfig()), &config); err != nil {
		t.Fatal(err)
	}

	retried := func(service, method string) bool {
		for _, c := range config.MethodConfig {
			if c.RetryPolicy != nil && slices.Contains(c.Name, struct{ Service, Method string }{service, method}) {
				return slices.Equal(c.RetryPolicy.RetryableStatusCodes, []string{"UNAVAILABLE"})
			}
		}

		return false
	}

	for method, want := range map[[2]string]bool{
		{"machine.MachineService", "Version"}:            true,
		{"machine.MachineService", "List"}:               true,
		{"cosi.resource.State", "Get"}:                   true,
		{"machine.MachineService", "Reboot"}:             false,
		{"machine.MachineService", "ApplyConfiguration"}: false,
		{"cosi.resource.State", "Update"}:                false,
	} {
		if got := retried(method[0], method[1]); got != want {
			t.Errorf("%v is retried: %v", method, got)
		}
	}
}
