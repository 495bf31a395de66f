package atomicfile_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

func TestWriteReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")

	for _, text := range []string{"one", "a longer text", ""} {
		if err := atomicfile.Write(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}

		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("read %q, %v", got, err)
		}
	}

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}

	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestWriteIntoNowhere(t *testing.T) {
	if err := atomicfile.Write(filepath.Join(t.TempDir(), "no", "file"), nil, 0o600); err == nil {
		t.Error("no error")
	}
}

// writerEnv makes the test binary write for ever, to be killed in the middle.
const writerEnv = "ATOMICFILE_WRITER"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		for n := 0; ; n++ {
			if err := atomicfile.Write(path, content(byte(n)), 0o600); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}

	os.Exit(m.Run())
}

func content(b byte) []byte { return bytes.Repeat([]byte{b}, 64<<10) }

func TestKilledWriterLeavesWholeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")

	for round := range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+path)

		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}

		kittest.Await(t, 5*time.Second, "the file", func() bool {
			_, err := os.Stat(path)

			return err == nil
		})

		// Another moment of the write each time.
		time.Sleep(time.Duration(round) * 500 * time.Microsecond)
		cmd.Process.Kill() //nolint:errcheck // it runs for ever
		cmd.Wait()         //nolint:errcheck // killed

		data, err := os.ReadFile(path)
		if err != nil || len(data) != 64<<10 || !bytes.Equal(data, content(data[0])) {
			t.Fatalf("round %d: a torn file of %d bytes, %v", round, len(data), err)
		}
	}

	if err := atomicfile.Clean(path); err != nil {
		t.Fatal(err)
	}

	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}
