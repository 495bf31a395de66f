package button

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

func attr(kind uint16, value []byte) []byte {
	out := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	out = append(binary.NativeEndian.AppendUint16(out, kind), value...)

	for len(out)%4 != 0 {
		out = append(out, 0)
	}

	return out
}

func message(attributes ...[]byte) []byte {
	body := make([]byte, unix.NLMSG_HDRLEN+unix.GENL_HDRLEN)
	for _, a := range attributes {
		body = append(body, a...)
	}

	binary.NativeEndian.PutUint32(body, uint32(len(body)))

	return body
}

func answer() []byte {
	entry := func(name string, id byte) []byte {
		return append(attr(unix.CTRL_ATTR_MCAST_GRP_ID, []byte{id, 0, 0, 0}), attr(unix.CTRL_ATTR_MCAST_GRP_NAME, []byte(name+"\x00"))...)
	}

	return message(
		attr(unix.CTRL_ATTR_FAMILY_NAME, []byte(family+"\x00")),
		attr(unix.CTRL_ATTR_MCAST_GROUPS|unix.NLA_F_NESTED,
			append(attr(1|unix.NLA_F_NESTED, entry("other", 3)), attr(2|unix.NLA_F_NESTED, entry(group, 5))...)))
}

func event(class string) []byte {
	value := make([]byte, 44)
	copy(value, class)

	return message(attr(1, value))
}

func TestGroupIsFound(t *testing.T) {
	if id, found := groupID(answer()); !found || id != 5 {
		t.Errorf("group is %d, %v", id, found)
	}

	if _, found := groupID(message(attr(unix.CTRL_ATTR_FAMILY_NAME, []byte(family)))); found {
		t.Error("a group was found where there is none")
	}
}

func TestPress(t *testing.T) {
	for class, want := range map[string]bool{"button/power": true, "button/power PBTN": true, "button/sleep": false, "ac_adapter": false} {
		if got := isPress(event(class)); got != want {
			t.Errorf("%s: %v", class, got)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(answer())
	f.Add(event("button/power"))
	f.Add(question())
	f.Fuzz(func(_ *testing.T, data []byte) {
		groupID(data)
		isPress(data)
	})
}
