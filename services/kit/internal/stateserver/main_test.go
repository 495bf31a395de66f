package stateserver_test

import (
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

func TestMain(m *testing.M) { kittest.NoLeaks(m) }
