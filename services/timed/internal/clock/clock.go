// Package clock is the only package of timed that touches the system's clock.
package clock

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotAllowed is given by a clock that may only be read.
var ErrNotAllowed = errors.New("this clock may only be read")

// Clock is the system's clock. The zero Clock may only be read.
type Clock struct{ allowed bool }

// New gives the clock; setting it works only if allowed.
func New(allowed bool) Clock { return Clock{allowed: allowed} }

// Step adds offset to the time at once.
func (c Clock) Step(offset time.Duration) error {
	// The fraction is positive also for a step back.
	seconds := offset / time.Second
	if offset%time.Second < 0 {
		seconds--
	}

	t := unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO}
	t.Time.Sec = int64(seconds)
	t.Time.Usec = int64(offset - seconds*time.Second)

	return c.adjust("step", &t)
}

// Slew lets the kernel's phase-locked loop work off the offset; poll is the time until the next correction.
func (c Clock) Slew(offset, poll time.Duration) error {
	// The loop's time constant is a power of two, 4 less than the poll's (RFC 5905, 11.3).
	constant := max(bits.Len64(uint64(poll/time.Second))-1-4, 0)

	return c.adjust("slew", &unix.Timex{
		Modes:    unix.ADJ_OFFSET | unix.ADJ_NANO | unix.ADJ_STATUS | unix.ADJ_TIMECONST | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR,
		Offset:   int64(offset),
		Status:   unix.STA_PLL,
		Constant: int64(constant),
	})
}

func (c Clock) adjust(what string, t *unix.Timex) error {
	if !c.allowed {
		return fmt.Errorf("%s clock: %w", what, ErrNotAllowed)
	}

	if _, err := unix.Adjtimex(t); err != nil {
		return fmt.Errorf("%s clock: %w", what, err)
	}

	return nil
}

// Status is the kernel's view of the clock.
type Status struct {
	Offset, MaxError, EstError time.Duration
	FrequencyRatio             float64
	Flags, State               string
	Constant                   int
	Synced                     bool
}

// Status reads the clock; anybody may.
func (Clock) Status() (Status, error) {
	var t unix.Timex

	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Status{}, fmt.Errorf("read clock: %w", err)
	}

	return status(&t, state), nil
}

func status(t *unix.Timex, state int) Status {
	// ppm is the unit of the frequency: millionths, with 16 bits of fraction.
	const ppm = 1 << 16 * 1e6

	unit := time.Microsecond
	if t.Status&unix.STA_NANO != 0 {
		unit = time.Nanosecond
	}

	return Status{
		Offset:         time.Duration(t.Offset) * unit,
		MaxError:       time.Duration(t.Maxerror) * time.Microsecond,
		EstError:       time.Duration(t.Esterror) * time.Microsecond,
		FrequencyRatio: 1 + float64(t.Freq)/ppm,
		Flags:          flags(t.Status),
		State:          stateName(state),
		Constant:       int(t.Constant),
		Synced:         t.Status&unix.STA_UNSYNC == 0,
	}
}

// flags names the STA_ bits of linux/timex.h.
func flags(bits int32) string {
	var names []string

	for i, name := range strings.Fields("PLL PPSFREQ PPSTIME FLL INS DEL UNSYNC FREQHOLD PPSSIGNAL PPSJITTER PPSWANDER PPSERROR CLOCKERR NANO MODE CLK") {
		if bits&(1<<i) != 0 {
			names = append(names, "STA_"+name)
		}
	}

	return strings.Join(names, " | ")
}

func stateName(state int) string {
	if names := strings.Fields("OK INS DEL OOP WAIT ERROR"); state >= 0 && state < len(names) {
		return "TIME_" + names[state]
	}

	return fmt.Sprintf("TIME_%d", state)
}

// CanSet says that the process has the capability to set clocks.
func CanSet() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}

	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}

	return data[unix.CAP_SYS_TIME/32].Effective&(1<<(unix.CAP_SYS_TIME%32)) != 0
}
