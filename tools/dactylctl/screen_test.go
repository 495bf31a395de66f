package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestHostileWords: what a node says does nothing to a terminal; a pipe gets the bytes.
func TestHostileWords(t *testing.T) {
	start(t, &fake{logs: [][]string{{"title \x1b]0;root\x07, clear \x1b[2J, ", "back\rover, \xff, ü\n"}}})

	commands := [][]string{{"logs", "etcd"}, {"service", "no\x1b[2Jsuch\u009b"}}

	var text strings.Builder
	for _, args := range commands {
		fmt.Fprintf(&text, "$ dactylctl %q\n%s", args, terminal(t, args...))
	}

	kittest.Golden(t, "screen.txt", []byte(text.String()))

	var piped bytes.Buffer
	if run(commands[0], strings.NewReader(""), &piped, io.Discard) != 0 || !strings.Contains(piped.String(), "clear \x1b[2J, back\rover, \xff") {
		t.Errorf("a pipe got %q", piped.String())
	}
}

// terminal runs a command on a terminal and gives what that would show.
func terminal(t *testing.T, args ...string) string {
	t.Helper()
	t.Setenv("TERM", "linux")

	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()

	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}

	screen, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}

	shown := make(chan string)
	go func() {
		data, _ := io.ReadAll(master) // ends with EIO when the other end is closed
		shown <- string(data)
	}()

	run(args, strings.NewReader(""), screen, screen)
	screen.Close()

	return strings.ReplaceAll(<-shown, "\r\n", "\n")
}
