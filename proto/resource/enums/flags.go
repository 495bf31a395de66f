package enums

import (
	"fmt"
	"strings"
)

// AddressFlags is a set of AddressFlag: "permanent,noprefixroute".
type AddressFlags uint32

// RouteFlags is a set of RouteFlag.
type RouteFlags uint32

// LinkFlags is the set IFF_* of linux/if.h: "UP,BROADCAST,RUNNING".
type LinkFlags uint32

// Has says whether a flag is set.
func (f AddressFlags) Has(flag AddressFlag) bool { return AddressFlag(f)&flag != 0 }

func (f AddressFlags) String() string {
	return join(uint32(f), func(bit uint32) string { return AddressFlag(bit).String() })
}

func (f AddressFlags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func (f *AddressFlags) UnmarshalText(text []byte) error {
	return split((*uint32)(f), string(text), func(word string) (uint32, error) {
		v, err := ParseAddressFlag(word)

		return uint32(v), err
	})
}

func (f RouteFlags) String() string {
	return join(uint32(f), func(bit uint32) string { return RouteFlag(bit).String() })
}

func (f RouteFlags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func (f *RouteFlags) UnmarshalText(text []byte) error {
	return split((*uint32)(f), string(text), func(word string) (uint32, error) {
		v, err := ParseRouteFlag(word)

		return uint32(v), err
	})
}

// linkFlagNames are in the order of their bits.
const linkFlagNames = "UP BROADCAST DEBUG LOOPBACK POINTTOPOINT NOTRAILERS RUNNING NOARP PROMISC ALLMULTI " +
	"MASTER SLAVE MULTICAST PORTSEL AUTOMEDIA DYNAMIC LOWER_UP DORMANT ECHO"

func (f LinkFlags) String() string {
	names := strings.Fields(linkFlagNames)

	return join(uint32(f), func(bit uint32) string {
		for i, name := range names {
			if bit == 1<<i {
				return name
			}
		}

		return number("LinkFlag", int64(bit))
	})
}

func (f LinkFlags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func (f *LinkFlags) UnmarshalText(text []byte) error {
	names := strings.Fields(linkFlagNames)

	return split((*uint32)(f), string(text), func(word string) (uint32, error) {
		for i, name := range names {
			if word == name {
				return 1 << i, nil
			}
		}
		v, err := parseNumber("LinkFlag", word)

		return uint32(v), err
	})
}

func join(set uint32, name func(bit uint32) string) string {
	var words []string
	for i := range 32 {
		if bit := uint32(1) << i; set&bit != 0 {
			words = append(words, name(bit))
		}
	}

	return strings.Join(words, ",")
}

func split(set *uint32, text string, parse func(string) (uint32, error)) error {
	*set = 0
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		bit, err := parse(word)
		if err != nil {
			return fmt.Errorf("flags %q: %w", text, err)
		}
		*set |= bit
	}

	return nil
}
