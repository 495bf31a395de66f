package rtnl

import (
	"fmt"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"
)

// Stats are a link's counters.
type Stats struct {
	Name string
	rtnetlink.LinkStats64
}

// Stats reads the counters of every link.
func (c *Conn) Stats() ([]Stats, error) {
	msgs, err := c.dump(unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg))
	if err != nil {
		return nil, fmt.Errorf("list link counters: %w", err)
	}

	var out []Stats

	for _, msg := range msgs {
		var m rtnetlink.LinkMessage
		if err := m.UnmarshalBinary(msg.Data); err != nil {
			return nil, fmt.Errorf("read link counters: %w", err)
		}

		if a := m.Attributes; a != nil && a.Stats64 != nil {
			out = append(out, Stats{Name: a.Name, LinkStats64: *a.Stats64})
		}
	}

	return out, nil
}
