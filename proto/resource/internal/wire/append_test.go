package wire_test

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dactyl-os/dactyl/proto/resource/internal/wire"
)

// TestStringsAreUTF8: protobuf takes no others, and a reader would lose all that is sent with one.
func TestStringsAreUTF8(t *testing.T) {
	for given, want := range map[string]string{"plain": "plain", "ä": "ä", "odd\xffname": "odd\uFFFDname", "\xff": "\uFFFD"} {
		_, _, n := protowire.ConsumeTag(wire.AppendString(nil, 1, given))

		if got, _ := protowire.ConsumeString(wire.AppendString(nil, 1, given)[n:]); got != want {
			t.Errorf("%q is written as %q", given, got)
		}
	}
}
