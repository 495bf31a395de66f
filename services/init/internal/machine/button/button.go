// Package button listens for the power button: the kernel's ACPI driver tells of it by generic netlink.
package button

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Names of the kernel's family of ACPI events and of its group (drivers/acpi/event.c).
const (
	family = "acpi_event"
	group  = "acpi_mc_group"
)

// powerClass is the device class of power buttons; those of laptops and boards only differ in what follows.
const powerClass = "button/power"

// Listen calls pressed for each press until ctx ends.
func Listen(ctx context.Context, pressed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_GENERIC)
	if err != nil {
		return fmt.Errorf("open ACPI events: %w", err)
	}

	// The runtime's poller waits without a thread, and wakes at Close.
	socket := os.NewFile(uintptr(fd), "acpi events")
	defer socket.Close()

	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind ACPI events: %w", err)
	}

	if _, err := socket.Write(question()); err != nil {
		return fmt.Errorf("ask for ACPI events: %w", err)
	}

	buffer := make([]byte, 64<<10)

	n, err := socket.Read(buffer)
	if err != nil {
		return fmt.Errorf("ask for ACPI events: %w", err)
	}

	id, found := groupID(buffer[:n])
	if !found {
		return errors.New("this kernel has no ACPI events")
	}

	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(id)); err != nil {
		return fmt.Errorf("join ACPI events: %w", err)
	}

	stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
	defer stop()

	for {
		n, err := socket.Read(buffer)

		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			continue
		case err != nil:
			return fmt.Errorf("read ACPI events: %w", err)
		}

		if isPress(buffer[:n]) {
			pressed()
		}
	}
}

// question asks the generic netlink controller for the family.
func question() []byte {
	name := append([]byte(family), 0)
	attribute := binary.NativeEndian.AppendUint16(nil, uint16(4+len(name)))
	attribute = append(binary.NativeEndian.AppendUint16(attribute, unix.CTRL_ATTR_FAMILY_NAME), name...)

	for len(attribute)%4 != 0 {
		attribute = append(attribute, 0)
	}

	out := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+unix.GENL_HDRLEN+len(attribute)))
	out = binary.NativeEndian.AppendUint16(out, unix.GENL_ID_CTRL)
	out = binary.NativeEndian.AppendUint16(out, unix.NLM_F_REQUEST)
	out = append(out, make([]byte, 8)...) // sequence and port
	out = append(out, unix.CTRL_CMD_GETFAMILY, 1, 0, 0)

	return append(out, attribute...)
}

// groupID finds the id of the group in the controller's answer.
func groupID(message []byte) (uint32, bool) {
	for groups := range attributes(payload(message)) {
		if groups.kind != unix.CTRL_ATTR_MCAST_GROUPS {
			continue
		}

		for entry := range attributes(groups.value) {
			var (
				id   uint32
				name string
			)

			for a := range attributes(entry.value) {
				switch {
				case a.kind == unix.CTRL_ATTR_MCAST_GRP_ID && len(a.value) >= 4:
					id = binary.NativeEndian.Uint32(a.value)
				case a.kind == unix.CTRL_ATTR_MCAST_GRP_NAME:
					name = string(bytes.TrimRight(a.value, "\x00"))
				}
			}

			if name == group {
				return id, id != 0
			}
		}
	}

	return 0, false
}

// isPress tells whether an event is of a power button: struct acpi_genl_event begins with the class of the device in 20 bytes.
func isPress(message []byte) bool {
	for a := range attributes(payload(message)) {
		if len(a.value) >= 20 && bytes.HasPrefix(a.value[:20], []byte(powerClass)) {
			return true
		}
	}

	return false
}

// payload is what follows the headers of netlink and generic netlink.
func payload(message []byte) []byte {
	const headers = unix.NLMSG_HDRLEN + unix.GENL_HDRLEN

	if len(message) < headers {
		return nil
	}

	length := min(int(binary.NativeEndian.Uint32(message)), len(message))
	if length < headers {
		return nil
	}

	return message[headers:length]
}

type attribute struct {
	value []byte
	kind  uint16
}

// attributes walks netlink attributes; broken ones end the walk.
func attributes(data []byte) func(yield func(attribute) bool) {
	return func(yield func(attribute) bool) {
		for len(data) >= 4 {
			length := int(binary.NativeEndian.Uint16(data))
			kind := binary.NativeEndian.Uint16(data[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)

			if length < 4 || length > len(data) || !yield(attribute{data[4:length], kind}) {
				return
			}

			data = data[min((length+3)&^3, len(data)):]
		}
	}
}
