package endpoint_test

import (
	"os"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

func TestMain(m *testing.M) { os.Exit(kittest.NoLeaks(m)) }
