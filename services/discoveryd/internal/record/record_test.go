package record_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
)

func sample() record.Record {
	return record.Record{
		NodeID: "node-a", Version: 7, Hostname: "cp-1.example.org", Nodename: "cp-1", OperatingSystem: "Dactyl (v1.8.0)",
		MachineType: 2, APIServerPort: 6443,
		Addresses: []netip.Addr{netip.MustParseAddr("10.5.0.2"), netip.MustParseAddr("fd00::2")}, Health: record.Ready,
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()

	want := []record.Record{sample(), {NodeID: "b"}}

	got, err := record.DecodeAll(record.EncodeAll(want))
	if err != nil {
		t.Fatal(err)
	}

	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	// A field of a later version is skipped.
	later := append(sample().Encode(), 0xfa, 0x01, 1, 'x')
	if got, err := record.Decode(later); err != nil || !got.Same(sample()) {
		t.Errorf("later version: %+v %v", got, err)
	}
}

// Two addresses and a name leave room in one packet.
func TestFitsAPacket(t *testing.T) {
	t.Parallel()

	if size := len(sample().Encode()); size > 120 {
		t.Errorf("a usual record has %d bytes", size)
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()

	long := sample()
	long.Hostname = strings.Repeat("a", 300)

	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"empty":     {nil, "record without a node"},
		"cut":       {sample().Encode()[:20], "decode record: unexpected EOF"},
		"long name": {long.Encode(), "field 3 has 300 characters, 256 at most"},
		"address":   {append(sample().Encode(), 0x42, 1, 9), "bad address in a record"},
		"huge":      {make([]byte, 70000), "record of 70000 bytes, 65536 at most"},
	} {
		if _, err := record.Decode(test.data); err == nil || err.Error() != test.want {
			// protobuf separates its prefix by a space that varies on purpose.
			if err == nil || strings.ReplaceAll(err.Error(), "\u00a0", " ") != test.want {
				t.Errorf("%s: got %v, want %s", name, err, test.want)
			}
		}
	}
}

func TestNewerRecordWins(t *testing.T) {
	t.Parallel()

	table, r := record.NewTable("self"), sample()

	if changed, _ := table.Merge(r); !changed {
		t.Error("a new node changed nothing")
	}

	older := r
	older.Version, older.Hostname = 6, "old"

	if changed, _ := table.Merge(older); changed || table.Others()[0].Hostname != r.Hostname {
		t.Error("an older record won")
	}

	again := r
	again.Version = 8

	if changed, _ := table.Merge(again); changed {
		t.Error("the same content counted as a change")
	}

	newer := again
	newer.Version, newer.Hostname = 9, "new"

	if changed, _ := table.Merge(newer); !changed || table.Others()[0].Hostname != "new" {
		t.Error("a newer record did not win")
	}
}

// A node that starts again counts on from what the others remember of it,
// whatever its clock says and whichever it hears or says first.
func TestOwnRecordRisesAboveItsEarlierLife(t *testing.T) {
	t.Parallel()

	before := record.Record{NodeID: "self", Version: 40, Hostname: "before"}

	saidFirst := record.NewTable("self")
	if !saidFirst.SetOwn(record.Record{Hostname: "now"}) {
		t.Error("the first record is no change")
	}

	if _, raised := saidFirst.Merge(before); !raised {
		t.Error("not raised above the earlier life")
	}

	if own, _ := saidFirst.Own(); own.Version != 41 || own.Hostname != "now" {
		t.Errorf("own record is %+v", own)
	}

	if _, raised := saidFirst.Merge(before); raised {
		t.Error("raised twice")
	}

	heardFirst := record.NewTable("self")
	if _, raised := heardFirst.Merge(before); raised {
		t.Error("raised before anything was said")
	}

	heardFirst.SetOwn(record.Record{Hostname: "now"})

	if own, _ := heardFirst.Own(); own.Version != 41 {
		t.Errorf("own record is %+v", own)
	}

	// Unchanged content at the same count needs no telling.
	same := record.NewTable("self")
	same.SetOwn(record.Record{Hostname: "now"})

	if _, raised := same.Merge(record.Record{NodeID: "self", Version: 1, Hostname: "now"}); raised {
		t.Error("raised for nothing")
	}

	if same.SetOwn(record.Record{Hostname: "now"}) {
		t.Error("saying the same again is a change")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().Encode())
	f.Add(record.EncodeAll([]record.Record{sample(), {NodeID: "b", Version: 1 << 60}}))

	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := record.Decode(data); err == nil {
			again, err := record.Decode(r.Encode())
			if err != nil || !again.Same(r) {
				t.Errorf("%+v became %+v (%v)", r, again, err)
			}
		}

		table := record.NewTable("self")

		records, _ := record.DecodeAll(data)
		for _, r := range records {
			table.Merge(r)
		}
	})
}
