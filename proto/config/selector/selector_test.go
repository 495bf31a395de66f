package selector_test

import (
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config/selector"
)

func TestMatch(t *testing.T) {
	d := selector.Disk{System: true, Path: "/dev/nvme0n1", Size: 100 << 30, Transport: "nvme", Model: "Fast 9000", Rotational: false}

	for text, want := range map[string]bool{
		`disk.transport == "nvme"`:                                    true,
		`disk.transport == 'virtio' || system_disk`:                   true,
		`disk.size > 10u * GiB && disk.size <= 200 * GB`:              true,
		`disk.size > 100u * GiB`:                                      false,
		`!disk.rotational && !disk.cdrom`:                             true,
		`!(disk.model.startsWith("Fast") && system_disk)`:             false,
		`disk.dev_path.endsWith("n1") == true`:                        true,
		`glob("/dev/nvme*", disk.dev_path)`:                           true,
		`disk.serial == "" && disk.model.contains("x")`:               false,
		`system_disk && disk.transport != "" && 1 + 1 == 2 && !false`: true,
	} {
		s, err := selector.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)

			continue
		}

		if got, err := s.Match(d); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", text, got, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                                  "column 1: a value is missing",
		`disk.size`:                         "column 1: it is a number, not a condition",
		`disk.size > "1"`:                   "column 11: a number > a string",
		`disk.speed > 1`:                    `column 6: unknown name "disk.speed"`,
		`disk.model.matches("x")`:           "column 12: the method matches is not supported",
		`size(disk.model) > 1`:              "the function size is not supported",
		`"a" in disk.symlinks`:              `column 5: unexpected "in"`,
		`disk.size > 1 ? true : false`:      `column 15: "?" is not supported`,
		`(system_disk`:                      `column 13: ")" is missing`,
		`disk.model == "x`:                  "column 15: a string that does not end",
		`system_disk && disk.size`:          "column 13: a condition && a number",
		strings.Repeat("!", 99) + "true":    "nested deeper",
		`disk.size > 99999999999999999999u`: "out of range",
		`glob("[", disk.model)`:             "column 5: syntax error",
	} {
		if _, err := selector.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`disk.size > 10u * GiB && !(disk.model.startsWith("a") || system_disk)`)
	f.Add(`glob('/dev/*', disk.dev_path)`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := selector.Parse(text)
		if err != nil {
			return
		}

		if _, err := s.Match(selector.Disk{Size: 7, Model: "x", System: true}); err != nil && !strings.Contains(err.Error(), "pattern") {
			t.Errorf("%q is accepted, but: %v", text, err)
		}
	})
}
