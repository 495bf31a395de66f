package config

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dactyl-os/dactyl/proto/bytesize"
)

// Duration is a time span written as a Go duration string: 5m, 1h30m, 0.
type Duration time.Duration

// UnmarshalText accepts what time.ParseDuration accepts.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it like 30s, 5m or 1h30m", text)
	}

	*d = Duration(v)

	return nil
}

// MarshalText writes the duration as Go prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Duration returns the plain Go value.
func (d Duration) Duration() time.Duration { return time.Duration(d) }

// Base64 is bytes (in general PEM) written in base64.
type Base64 []byte

// UnmarshalText decodes standard base64; surrounding white space is ignored.
func (b *Base64) UnmarshalText(text []byte) error {
	v, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("not base64: %w", err)
	}

	*b = v

	return nil
}

// MarshalText encodes standard base64.
func (b Base64) MarshalText() ([]byte, error) {
	return []byte(base64.StdEncoding.EncodeToString(b)), nil
}

// FileMode is a file's permission bits: 0o644, 0644 or the decimal number.
type FileMode uint32

// UnmarshalText accepts octal with 0o or 0 in front, and decimal.
func (m *FileMode) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 0, 32)
	if err != nil || v > 0o7777 {
		return fmt.Errorf("%q is not a file mode; write it like 0o644", text)
	}

	*m = FileMode(v)

	return nil
}

// MarshalText writes the mode in octal.
func (m FileMode) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "0o%03o", uint32(m)), nil }

// ByteSize is a number of bytes: 1073741824, 100MB (decimal) or 4GiB (binary).
type ByteSize uint64

// UnmarshalText accepts what bytesize.Parse accepts.
func (s *ByteSize) UnmarshalText(text []byte) error {
	v, err := bytesize.Parse(string(text))
	if err != nil {
		return err
	}

	*s = ByteSize(v)

	return nil
}

// MarshalText writes the number of bytes.
func (s ByteSize) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(s), 10), nil }

// PortRange is a port or an inclusive range of ports: 80, 2379-2380.
type PortRange struct{ Low, High uint16 }

// UnmarshalText accepts N or N-M.
func (r *PortRange) UnmarshalText(text []byte) error {
	low, high, isRange := strings.Cut(string(text), "-")

	l, errLow := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
	h := l

	var errHigh error
	if isRange {
		h, errHigh = strconv.ParseUint(strings.TrimSpace(high), 10, 16)
	}

	if errLow != nil || errHigh != nil || h < l {
		return fmt.Errorf("%q is not a port or a range of ports; write it like 80 or 2379-2380", text)
	}

	r.Low, r.High = uint16(l), uint16(h)

	return nil
}

// MarshalText writes N or N-M.
func (r PortRange) MarshalText() ([]byte, error) {
	if r.Low == r.High {
		return strconv.AppendUint(nil, uint64(r.Low), 10), nil
	}

	return fmt.Appendf(nil, "%d-%d", r.Low, r.High), nil
}
