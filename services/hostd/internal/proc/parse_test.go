package proc

import "testing"

func TestParseStat(t *testing.T) {
	const line = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 12345 1048576 25 18446744073709551615 1 1 0 0 0"

	p, err := parseStat(line)
	if err != nil {
		t.Fatal(err)
	}

	if p.GetPid() != 42 || p.GetCommand() != "a) b (c" || p.GetState() != "S" || p.GetPpid() != 7 || p.GetThreads() != 3 ||
		p.GetCpuTime() != 2 || p.GetVirtualMemory() != 1<<20 || p.GetResidentMemory() != 25*4096 {
		t.Errorf("got %v", p)
	}

	for _, bad := range []string{"", "42", "x (a) S", "42 (a) S 1 2", "42 )("} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestUnescape(t *testing.T) {
	if got := unescape(`/mnt/a\040b\134c`); got != `/mnt/a b\c` {
		t.Errorf("got %q", got)
	}
}
