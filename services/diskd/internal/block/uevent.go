package block

import (
	"context"

	"github.com/dactyl-os/dactyl/services/kit/uevent"
)

// Uevents calls changed for each event of a block device, until ctx ends, and when events were lost.
func Uevents(ctx context.Context, changed func()) error {
	socket, err := uevent.Open()
	if err != nil {
		return err
	}

	return socket.Run(ctx, func(event uevent.Event, err error) {
		if err != nil || event.Values["SUBSYSTEM"] == "block" {
			changed()
		}
	})
}
