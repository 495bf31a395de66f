package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long an error stays on the console when the kernel has no panic= parameter.
const patience = 10 * time.Second

// giveUp says what went wrong and reboots as panic= has it: after so many seconds, at once when negative, never when 0.
func giveUp(err error) {
	line, _ := os.ReadFile("/proc/cmdline") // without it the default holds
	wait, reboots := afterPanic(string(line))

	say(fmt.Sprintf("stage1: %v", err))

	if !reboots {
		say("stage1: panic=0: waiting for a hand on the reset button")
		stay()
	}

	say(fmt.Sprintf("stage1: rebooting in %s", wait))
	time.Sleep(wait)

	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		say(fmt.Sprintf("stage1: reboot: %v", err))
	}

	stay()
}

// stay keeps PID 1 alive. A bare select is a deadlock to Go's runtime, which would end it with a panic of the kernel's.
func stay() {
	for {
		time.Sleep(time.Hour)
	}
}

// say prints to the kernel's log as an error, which consoles show even when told to be quiet and which pstore keeps. Before
// there is a log, it prints to the console that the kernel opened.
func say(line string) {
	log, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, line)

		return
	}
	defer log.Close() // nobody is left to tell

	fmt.Fprintf(log, "<3>%s\n", line) // nobody is left to tell
}

// afterPanic reads panic= from the kernel's command line; the last one counts.
func afterPanic(line string) (wait time.Duration, reboots bool) {
	wait, reboots = patience, true

	for field := range strings.FieldsSeq(line) {
		value, ok := strings.CutPrefix(field, "panic=")
		if !ok {
			continue
		}

		seconds, err := strconv.Atoi(value)
		if err != nil {
			continue
		}

		wait, reboots = time.Duration(max(seconds, 0))*time.Second, seconds != 0
	}

	return wait, reboots
}
