// Package bytesize reads amounts of bytes as people write them.
package bytesize

import (
	"fmt"
	"strconv"
	"strings"
)

// units are spelled as IEC 80000-13 has them.
func units() map[string]uint64 {
	return map[string]uint64{
		"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15, "EB": 1e18,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50, "EiB": 1 << 60,
	}
}

// Unit gives the bytes of a unit, from kB (1,000) and KiB (1,024) to EB and EiB, in exactly this spelling.
func Unit(name string) (uint64, bool) {
	size, known := units()[name]

	return size, known
}

// Parse reads sizes such as 4GiB, 100 MB, 512k, 1.5Gi or a plain number of bytes, below 8 EiB. The case of the unit does not
// count, and its B may be left out.
func Parse(text string) (uint64, error) {
	text = strings.TrimSpace(text)
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")

	scale, known := prefix(strings.TrimSpace(text[len(number):]))

	value, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || !(value >= 0 && value*scale < 1<<63) {
		return 0, fmt.Errorf("%q is not a size; write it like 4GiB, 100MB or a number of bytes", text)
	}

	return uint64(value * scale), nil
}

// prefix gives the factor of a unit in any spelling; bytes themselves have none.
func prefix(unit string) (float64, bool) {
	short := func(unit string) string { return strings.TrimSuffix(strings.ToLower(unit), "b") }

	for name, size := range units() {
		if short(name) == short(unit) {
			return float64(size), true
		}
	}

	return 1, short(unit) == ""
}
