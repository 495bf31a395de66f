package uevent

import "testing"

func TestParse(t *testing.T) {
	event, ok := Parse([]byte("add@/devices/pci0000:00/virtio0\x00ACTION=add\x00MODALIAS=virtio:d1v2\x00EMPTY=\x00junk\x00"))
	if !ok || event.Action != "add" || event.Path != "/devices/pci0000:00/virtio0" || event.Values["MODALIAS"] != "virtio:d1v2" {
		t.Errorf("event is %v, %v", event, ok)
	}

	for _, message := range []string{"", "\x00", "libudev\x00\xfe\xed", "add", "@/devices", "add@relative"} {
		if event, ok := Parse([]byte(message)); ok {
			t.Errorf("%q is taken for %v", message, event)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("add@/devices/x\x00A=b\x00"))
	f.Fuzz(func(t *testing.T, message []byte) {
		if event, ok := Parse(message); ok && (event.Action == "" || event.Path == "") {
			t.Errorf("half an event: %v", event)
		}
	})
}
