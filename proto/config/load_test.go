package config_test

import (
	"fmt"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
)

func TestTry(t *testing.T) {
	_, err := config.Load([]byte(`
version: v1alpha1
machine:
  typ: worker
  type: foo
  network:
    interfaces:
      - interface: eth0
        adresses: [1.2.3.4/8]
        mtu: abc
        dhcp: maybe
        vlans: {}
  env: {a: 1, a: 2}
cluster: []
---
apiVersion: v1alpha1
kind: WatchdogTimerConfig
timeout: 5
---
apiVersion: v1alpha1
kind: WatchdogTimerConfg
---
apiVersion: v1alpha1
kind: WatchdogTimerConfig
`))
	fmt.Println(err)
}
