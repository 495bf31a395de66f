package meta_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/dactyl-os/dactyl/services/configd/internal/meta"
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
