package frame

import (
	"testing"

	"google.golang.org/protobuf/proto"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/proto/machine"
)

// TestTextThatIsNoUTF8: one odd name does not hide the others, wherever in a message it is.
func TestTextThatIsNoUTF8(t *testing.T) {
	for _, test := range []struct{ in, out, want proto.Message }{
		{
			&machine.ProcessesResponse{Messages: []*machine.Process{{Processes: []*machine.ProcessInfo{{Command: "odd\xffname"}, {Command: "sh"}}}}},
			&machine.ProcessesResponse{},
			&machine.ProcessesResponse{Messages: []*machine.Process{{Processes: []*machine.ProcessInfo{{Command: "odd\uFFFDname"}, {Command: "sh"}}}}},
		},
		{
			&initv1.Unit{Command: []string{"/bin/sh", "\xfe"}, Env: map[string]string{"A": "\xff", "\xff": "B", "C": "D"}},
			&initv1.Unit{},
			&initv1.Unit{Command: []string{"/bin/sh", "\uFFFD"}, Env: map[string]string{"A": "\uFFFD", "\uFFFD": "B", "C": "D"}},
		},
	} {
		before := proto.Clone(test.in)

		data, err := Codec().Marshal(test.in)
		if err == nil {
			err = Codec().Unmarshal(data, test.out)
		}

		if err != nil || !proto.Equal(test.out, test.want) {
			t.Errorf("got %v, %v\nwant %v", test.out, err, test.want)
		}

		if !proto.Equal(test.in, before) {
			t.Error("the method's own message is changed")
		}
	}
}
