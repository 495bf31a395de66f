package controllers

import "testing"

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
