package meta_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/dactyl-os/dactyl/proto/meta"
)

func encode(t testing.TB, values meta.Values, generation uint64) []byte {
	t.Helper()

	data, err := meta.Encode(values, generation)
	if err != nil {
		t.Fatal(err)
	}

	return data
}

func TestRoundTrip(t *testing.T) {
	for _, values := range []meta.Values{{}, {0x0a: []byte("addresses: []\n")}, {0: {}, 6: []byte("A"), 255: bytes.Repeat([]byte{0xff}, 100_000)}} {
		got, generation, err := meta.Decode(encode(t, values, 7))
		if err != nil || generation != 7 {
			t.Fatalf("generation %d, error %v", generation, err)
		}

		for key, value := range values {
			if !bytes.Equal(got[key], value) {
				t.Errorf("key %#x: %q", key, got[key])
			}
		}
	}
}

func TestOneCopyIsEnough(t *testing.T) {
	older, newer := encode(t, meta.Values{1: []byte("old")}, 1), encode(t, meta.Values{1: []byte("new")}, 2)

	// A write that was cut between the copies.
	mixed := append(bytes.Clone(newer[:meta.SlotSize]), older[meta.SlotSize:]...)
	if got, _, err := meta.Decode(mixed); err != nil || string(got[1]) != "new" {
		t.Errorf("%v, error %v", got, err)
	}

	// A write that was cut within the first copy.
	torn := bytes.Clone(older)
	copy(torn, newer[:25])

	if got, _, err := meta.Decode(torn); err != nil || string(got[1]) != "old" {
		t.Errorf("%v, error %v", got, err)
	}

	for i := range meta.Size {
		torn[i] ^= 0xff
	}

	if _, _, err := meta.Decode(torn); !errors.Is(err, meta.ErrDamaged) {
		t.Errorf("error %v", err)
	}
}

// Every byte of a write in place may be the last one, whatever state an earlier cut left.
func TestCutAtEveryByte(t *testing.T) {
	older, newer := encode(t, meta.Values{1: []byte("old")}, 4), encode(t, meta.Values{1: []byte("newer"), 2: []byte("x")}, 5)
	damagedA, damagedB := bytes.Clone(older), bytes.Clone(older)
	damagedA[20], damagedB[meta.SlotSize+20] = 0xff, 0xff
	mixed := append(bytes.Clone(encode(t, meta.Values{1: []byte("oldest")}, 3)[:meta.SlotSize]), older[meta.SlotSize:]...)

	for name, before := range map[string][]byte{"both": older, "second": damagedA, "first": damagedB, "newer second": mixed} {
		writes := meta.Writes(before, newer)
		if len(writes) != 2 {
			t.Fatalf("%d writes", len(writes))
		}

		for done, w := range writes {
			for cut := range len(w.Data) + 1 {
				disk := bytes.Clone(before)
				for _, earlier := range writes[:done] {
					copy(disk[earlier.Offset:], earlier.Data)
				}

				copy(disk[w.Offset:], w.Data[:cut])

				want := "newer"
				if done == 0 && cut < len(w.Data) {
					want = "old"
				}

				if got, _, err := meta.Decode(disk); err != nil || string(got[1]) != want {
					t.Fatalf("%s, write %d cut at %d: %q, want %q, error %v", name, done, cut, got[1], want, err)
				}
			}
		}
	}
}

func TestEmptyAndFull(t *testing.T) {
	for _, data := range [][]byte{nil, make([]byte, 10), make([]byte, meta.Size)} {
		if values, _, err := meta.Decode(data); err != nil || len(values) != 0 {
			t.Errorf("%d zeros: %v, error %v", len(data), values, err)
		}
	}

	if _, err := meta.Encode(meta.Values{1: make([]byte, meta.SlotSize)}, 1); !errors.Is(err, meta.ErrFull) {
		t.Errorf("error %v", err)
	}
}

func FuzzMeta(f *testing.F) {
	f.Add(encode(f, meta.Values{0x0a: []byte("x"), 0x0f: []byte("token")}, 3))
	f.Add(encode(f, meta.Values{}, 0)[:100])
	f.Add([]byte("DACTYLM1\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		values, generation, err := meta.Decode(data)
		if err != nil {
			return
		}

		again, g, err := meta.Decode(encode(t, values, generation))
		if err != nil || g != generation || !reflect.DeepEqual(again, values) {
			t.Errorf("%v became %v, error %v", values, again, err)
		}
	})
}
