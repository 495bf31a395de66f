// Package meta encodes META: small values by key, kept in two copies, each with a checksum, so that one torn write loses
// nothing. It is pure: configd makes the bytes, and configd (a file) or diskd (a partition) stores them.
package meta

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Sizes of the encoding: two copies, each in a slot of its own.
const (
	SlotSize = 256 << 10
	Size     = 2 * SlotSize
	overhead = len(magic) + 8 + 4 + sha256.Size
)

// A slot is: magic, generation (8 bytes, big endian), length of the values (4), the values, SHA-256 of all before.
// A value is: key (1), length (4), bytes; keys ascend.
const magic = "DACTYLM1"

// ErrDamaged tells that neither copy is intact.
var ErrDamaged = errors.New("META is damaged: neither copy is intact")

// ErrFull tells that the values do not fit.
var ErrFull = fmt.Errorf("META is full: it holds %d bytes", SlotSize-overhead)

// Values are META's contents.
type Values map[uint8][]byte

// Encode writes both copies; the generation tells a newer copy from an older one.
func Encode(values Values, generation uint64) ([]byte, error) {
	var body []byte

	for _, key := range slices.Sorted(maps.Keys(values)) {
		body = append(body, key)
		body = binary.BigEndian.AppendUint32(body, uint32(len(values[key])))
		body = append(body, values[key]...)
	}

	if len(body)+overhead > SlotSize {
		return nil, ErrFull
	}

	slot := make([]byte, 0, SlotSize)
	slot = append(slot, magic...)
	slot = binary.BigEndian.AppendUint64(slot, generation)
	slot = binary.BigEndian.AppendUint32(slot, uint32(len(body)))
	slot = append(slot, body...)
	sum := sha256.Sum256(slot)
	slot = append(slot, sum[:]...)

	data := make([]byte, Size)
	copy(data, slot)
	copy(data[SlotSize:], slot)

	return data, nil
}

// Write is bytes to be put at an offset, and to be on the disk before the next one begins.
type Write struct {
	Data   []byte
	Offset int
}

// Writes tells how to replace the encoded current with the encoded next in place: one copy after the other, and first
// the one that is not the newest intact copy, so that a cut at any byte leaves the old values or the new ones.
func Writes(current, next []byte) []Write {
	first := Write{Data: used(next[:SlotSize])}
	second := Write{Data: used(next[SlotSize:Size]), Offset: SlotSize}

	_, a, errA := decodeSlot(current, 0)
	_, b, errB := decodeSlot(current, SlotSize)

	if errA == nil && (errB != nil || a > b) {
		return []Write{second, first}
	}

	return []Write{first, second}
}

// used leaves out what a slot does not use.
func used(slot []byte) []byte {
	return slot[:min(len(slot), overhead+int(binary.BigEndian.Uint32(slot[len(magic)+8:])))]
}

// Decode reads the newest intact copy. Nothing, or nothing but zeros, is an empty META.
func Decode(data []byte) (Values, uint64, error) {
	var (
		newest     Values
		generation uint64
	)

	for _, start := range []int{0, SlotSize} {
		values, g, err := decodeSlot(data, start)
		if err == nil && (newest == nil || g > generation) {
			newest, generation = values, g
		}
	}

	switch {
	case newest != nil:
		return newest, generation, nil
	case len(bytes.Trim(data, "\x00")) == 0:
		return Values{}, 0, nil
	default:
		return nil, 0, ErrDamaged
	}
}

func decodeSlot(data []byte, start int) (Values, uint64, error) {
	if len(data) < start+overhead {
		return nil, 0, ErrDamaged
	}

	slot := data[start:min(start+SlotSize, len(data))]
	head := len(magic) + 8 + 4

	length := int(binary.BigEndian.Uint32(slot[head-4:]))
	if string(slot[:len(magic)]) != magic || length > len(slot)-overhead {
		return nil, 0, ErrDamaged
	}

	sum := sha256.Sum256(slot[:head+length])
	if !bytes.Equal(sum[:], slot[head+length:head+length+sha256.Size]) {
		return nil, 0, ErrDamaged
	}

	values, err := decodeValues(slot[head : head+length])

	return values, binary.BigEndian.Uint64(slot[len(magic):]), err
}

func decodeValues(body []byte) (Values, error) {
	values := Values{}

	for len(body) > 0 {
		if len(body) < 5 {
			return nil, ErrDamaged
		}

		key, length := body[0], int(binary.BigEndian.Uint32(body[1:]))
		if length > len(body)-5 {
			return nil, ErrDamaged
		}

		values[key] = bytes.Clone(body[5 : 5+length])
		body = body[5+length:]
	}

	return values, nil
}
