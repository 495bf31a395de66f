package kmsg

import (
	"bytes"
	"strings"
	"testing"
)

func TestConsoleShowsWhatMatters(t *testing.T) {
	lines := `time=2026-01-01T00:00:00Z level=INFO msg="all is well"
networkd | time=2026-01-01T00:00:00Z level=WARN msg="no lease" link=eth0
trustd | time=2026-01-01T00:00:00Z level=ERROR msg="no CA"
gateway | panic: nil map

configd | time=2026-01-01T00:00:00Z level=DEBUG msg=detail
`

	var quiet, verbose bytes.Buffer

	console := Open("/nonexistent", &quiet, false)
	console.Say("stage: %s", "maintenance")
	_, _ = console.Write([]byte(lines))

	want := `<30>dactyl: stage: maintenance
<28>dactyl: networkd | time=2026-01-01T00:00:00Z level=WARN msg="no lease" link=eth0
<27>dactyl: trustd | time=2026-01-01T00:00:00Z level=ERROR msg="no CA"
<28>dactyl: gateway | panic: nil map
`
	if quiet.String() != want {
		t.Errorf("console shows\n%swant\n%s", quiet.String(), want)
	}

	_, _ = Open("/nonexistent", &verbose, true).Write([]byte(lines))

	if got := strings.Count(verbose.String(), "\n"); got != 5 {
		t.Errorf("verbose shows %d lines:\n%s", got, verbose.String())
	}
}

func TestLine(t *testing.T) {
	for record, want := range map[string]string{
		"6,339,5140900,-;NET: Registered\n":                  "[    5.140900] NET: Registered\n",
		"3,1,12000000,-,caller=T1;I/O error\n DEVICE=+sda\n": "! [   12.000000] I/O error\n",
		"30,7,1,-;dactyl: stage: booting\n":                  "[    0.000001] dactyl: stage: booting\n",
		"junk":                                               "junk\n",
		"a,b,c;x":                                            "a,b,c;x\n",
	} {
		line, urgent := Line(record)
		if urgent {
			line = "! " + line
		}

		if line != want {
			t.Errorf("%q became %q, want %q", record, line, want)
		}
	}
}
