package controllers

import (
	"slices"
	"strings"
	"time"
)

// How long no device may have come before they are said to be complete. A driver that was loaded has found what it drives,
// save where devices answer by and by: behind a USB controller, where a disk takes a second to be looked at, or on a fabric.
const (
	quiet     = 100 * time.Millisecond
	quietSlow = 1500 * time.Millisecond
)

// slow tells drivers whose devices come later than they do.
func slow(modules []string) bool {
	return slices.ContainsFunc(modules, func(name string) bool {
		return strings.HasSuffix(name, "hci_hcd") || strings.HasSuffix(name, "hci_pci") ||
			slices.Contains([]string{"usb_storage", "uas", "lpfc", "qla2xxx", "scsi_transport_fc", "scsi_transport_iscsi"}, name)
	})
}

// lateAfter is how long the node is left to start before drivers are loaded that it can start without.
const lateAfter = 10 * time.Second

// stillness is the time until which no device may come.
type stillness struct{ until time.Time }

// stir waits for quiet again, and tells how long. What was to be waited for anyway stays so.
func (s *stillness) stir(now time.Time, wait time.Duration) time.Duration {
	if at := now.Add(wait); at.After(s.until) {
		s.until = at
	}

	return s.until.Sub(now)
}
