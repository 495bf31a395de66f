package cmdline

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	p := Parse(`BOOT_IMAGE=/vmlinuz talos.platform=metal quiet console=tty0 console=ttyS0,115200 ` +
		`talos.environment="A=b c" "talos.environment=D=e=f" talos.environment=junk talos.dashboard.disabled=1 talos.experimental.wipe=system panic=0 -- single` + "\n")

	for key, want := range map[string][]string{
		"BOOT_IMAGE": {"/vmlinuz"},
		Platform:     {"metal"},
		"quiet":      {""},
		"console":    {"tty0", "ttyS0,115200"},
		Environment:  {"A=b c", "D=e=f", "junk"},
		"single":     nil,
	} {
		if got := p.All(key); !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}

	if got := p.Variables(); !reflect.DeepEqual(got, map[string]string{"A": "b c", "D": "e=f"}) {
		t.Errorf("variables are %v", got)
	}

	if !p.Bool(DashboardDisabled) || !p.Bool("quiet") || p.Bool(Panic) || p.Bool("absent") {
		t.Error("switches are read wrong")
	}

	if got := p.Last("console"); got != "ttyS0,115200" {
		t.Errorf("last console is %q", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "quiet", "talos.platform=metal console=tty0 console=ttyS0", `a="b c" "d=e f"`, `"`, `="x"`, "--", "a=b -- c=d",
		"ip=10.5.0.2::10.5.0.1:255.255.255.0:node:eth0:off talos.config=http://h/${uuid}?a=b", "talos.environment=A=B", "\x00=\xff",
	} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, line string) {
		p := Parse(line)
		p.Variables()

		// Quotes inside words stay as they are and change how the text would be split again.
		if strings.Contains(line, `"`) {
			return
		}

		again := Parse(p.String())
		if !reflect.DeepEqual(p, again) && len(p.keys) > 0 {
			t.Errorf("%q became %q\n%v\n%v", line, p.String(), p, again)
		}
	})
}
