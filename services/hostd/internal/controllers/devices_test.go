package controllers

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/uevent"
)

func TestUrgency(t *testing.T) {
	for alias, want := range map[string]int{
		"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00": reachable, // virtio network card
		"virtio:d00000002v00001AF4":                             reachable,
		"pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01": disks, // AHCI
		"pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30": disks, // xHCI
		"pci:v00001B36d00000007sv00001AF4sd00001100bc08sc05i01": disks, // SD host controller
		"usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00":     disks,
		"pci:v00008086d00002930sv00001AF4sd00001100bc0Csc05i00": late, // SMBus
		"pci:v00001234d00001111sv00001AF4sd00001100bc03sc00i00": late, // screen
		"acpi:LNXPWRBN:": disks, // power button
		"acpi:PNP0C0C:":  disks, // power button of the board
		"acpi:PNP0103:":  late,  // timer
	} {
		if got := urgency(alias); got != want {
			t.Errorf("%s: %d, want %d", alias, got, want)
		}
	}
}

func TestSlowDrivers(t *testing.T) {
	for name, want := range map[string]bool{"xhci_pci": true, "usb_storage": true, "sdhci_pci": true, "ahci": false, "virtio_blk": false, "nvme": false} {
		if slow([]string{"scsi_mod", name}) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

const (
	networkCard = "virtio:d00000001v00001AF4"
	otherCard   = "virtio:d00000002v00001AF4"
	sata        = "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"
	screen      = "pci:v00001234d00001111sv00001AF4sd00001100bc03sc00i00"
)

// TestQueue plays loads: "+" begins what may begin, "-" ends one, "idle" gives the node its time to start, anything else comes.
func TestQueue(t *testing.T) {
	for name, test := range map[string]struct {
		steps []string
		want  []string
	}{
		"the most urgent first, two at a time": {
			steps: []string{sata, networkCard, otherCard, "+"}, want: []string{networkCard, otherCard},
		},
		"a level waits for the one before": {
			steps: []string{sata, networkCard, "+"}, want: []string{networkCard},
		},
		"and begins when that is done": {
			steps: []string{sata, networkCard, "+", "-", "+"}, want: []string{networkCard, sata},
		},
		"the more urgent does not wait for the less": {
			steps: []string{sata, "+", networkCard, "+"}, want: []string{sata, networkCard},
		},
		"what is late waits for the node":  {steps: []string{screen, "+"}},
		"and comes when that has its time": {steps: []string{screen, "+", "idle", "+"}, want: []string{screen}},
		"once is enough":                   {steps: []string{sata, "+", "-", sata, "+"}, want: []string{sata}},
		"a device that fits nothing":       {steps: []string{"nothing", "", "+"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(func(alias string) bool { return alias != "nothing" })

			var began []string

			for _, step := range test.steps {
				switch step {
				case "+":
					for alias, ok := q.next(); ok; alias, ok = q.next() {
						began = append(began, alias)
					}
				case "-":
					q.ended()
				case "idle":
					q.idle = true
				default:
					q.want(step)
				}
			}

			if !slices.Equal(began, test.want) {
				t.Errorf("began %q, want %q", began, test.want)
			}
		})
	}
}

func TestStillness(t *testing.T) {
	var s stillness

	start := time.Now()

	for i, step := range []struct{ after, wait, left time.Duration }{
		{0, time.Second, time.Second},                                      // the settle time
		{100 * time.Millisecond, quiet, 900 * time.Millisecond},            // a device does not shorten it
		{time.Second, quietSlow, quietSlow},                                // a slow driver
		{1200 * time.Millisecond, quiet, quietSlow - 200*time.Millisecond}, // is waited for
		{4 * time.Second, quiet, quiet},                                    // long after
	} {
		if left := s.stir(start.Add(step.after), step.wait); left != step.left {
			t.Errorf("step %d: %s left, want %s", i, left, step.left)
		}
	}
}

func TestAliasOf(t *testing.T) {
	event := func(action, alias string) uevent.Event {
		return uevent.Event{Action: action, Values: map[string]string{"MODALIAS": alias}}
	}

	for name, test := range map[string]struct {
		event uevent.Event
		lost  error
		alias string
		ok    bool
	}{
		"a device comes":          {event: event("add", sata), alias: sata, ok: true},
		"a device goes":           {event: event("remove", sata), alias: sata, ok: true},
		"a driver is bound":       {event: event("bind", sata), alias: sata},
		"what needs no driver":    {event: event("add", "")},
		"events were lost":        {lost: errors.New("lost"), ok: true},
		"an event without values": {event: uevent.Event{Action: "add"}},
	} {
		if alias, ok := aliasOf(test.event, test.lost); alias != test.alias || ok != test.ok {
			t.Errorf("%s: %q, %v", name, alias, ok)
		}
	}
}
