package hostd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
)

// TestOddNamesHideNothing: bytes that are not UTF-8, in the arguments and the name of a process and in the names of files, are
// replaced where they are, and the rest is answered.
func TestOddNamesHideNothing(t *testing.T) {
	h := start(t)

	for path, text := range map[string]string{
		"proc/42/cmdline": "odd\xffname\x00sleep", "proc/42/stat": "42 (odd\xff) S 1" + strings.Repeat(" 0", 40),
		"proc/43/cmdline": "even", "proc/43/stat": "43 (even) S 1" + strings.Repeat(" 0", 40), "odd/a\xff": "", "odd/b": "",
	} {
		path = filepath.Join(h.Root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}

		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	answer, err := h.api.Processes(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}

	var got []string
	for _, p := range answer.GetMessages()[0].GetProcesses() {
		got = append(got, p.GetCommand()+": "+p.GetArgs())
	}

	if text := strings.Join(got, ", "); text != "odd\uFFFD: odd\uFFFDname sleep, even: even" {
		t.Errorf("processes: %s", text)
	}

	list, err := h.api.List(t.Context(), &machine.ListRequest{Root: "/odd", Recurse: true})
	if err != nil {
		t.Fatal(err)
	}

	got = nil

	for info, err := list.Recv(); err == nil; info, err = list.Recv() {
		got = append(got, info.GetName())
	}

	if text := strings.Join(got, " "); text != "/odd /odd/a\uFFFD /odd/b" {
		t.Errorf("files: %s", text)
	}
}
