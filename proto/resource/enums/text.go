// Package enums holds the enumerations and bit sets of resources, with the
// words that clients read and write for them.
package enums

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// number is the word of a value that has none: RoutingTable(100).
func number(typeName string, n int64) string { return typeName + "(" + strconv.FormatInt(n, 10) + ")" }

func parseNumber(typeName, text string) (int64, error) {
	digits := strings.TrimSuffix(strings.TrimPrefix(text, typeName+"("), ")")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a %s", text, typeName)
	}

	return n, nil
}

// HardwareAddr is a link-layer address; its text is aa:bb:cc:dd:ee:ff.
type HardwareAddr []byte

func (a HardwareAddr) String() string { return net.HardwareAddr(a).String() }

func (a HardwareAddr) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (a *HardwareAddr) UnmarshalText(text []byte) error {
	*a = nil
	if len(text) == 0 {
		return nil
	}
	parsed, err := net.ParseMAC(string(text))
	*a = HardwareAddr(parsed)

	return err
}
