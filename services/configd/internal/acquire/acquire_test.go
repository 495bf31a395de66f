package acquire_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/dactyl-os/dactyl/services/configd/internal/acquire"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
)

func packed(t *testing.T, text string) string {
	t.Helper()

	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}

	return base64.StdEncoding.EncodeToString(w.EncodeAll([]byte(text), nil))
}

func TestSources(t *testing.T) {
	inline := packed(t, "version: v1alpha1\n")

	for line, want := range map[string]string{
		"": "",
		"talos.platform=container talos.config=http://a/":                                               "",
		"talos.platform=metal":                                                                          "",
		"talos.platform=metal talos.config=none":                                                        "",
		"talos.platform=metal talos.config=http://10.0.0.1/${uuid}?m=${mac}":                            "http://10.0.0.1/${uuid}?m=${mac}",
		"talos.platform=metal talos.config=metal-iso":                                                   "config.yaml on volume metal-iso",
		"talos.platform=metal talos.config.inline=" + inline:                                            "talos.config.inline",
		"talos.platform=metal talos.config=metal-iso talos.config.inline=" + inline:                     "talos.config.inline, config.yaml on volume metal-iso",
		"talos.platform=metal talos.config.inline=" + inline[:8] + " talos.config.inline=" + inline[8:]: "talos.config.inline",
		"talos.platform=nocloud":                                                                        "user-data on volume cidata",
		"talos.platform=aws":                                                                            "talos.platform=aws is not supported yet: use metal or nocloud; until then apply a configuration through the API",
		"talos.platform=metal talos.config=ftp://a":                                                     "talos.config=ftp://a: give an http:// or https:// URL, or metal-iso",
		"talos.platform=metal talos.config.inline=%":                                                    "talos.config.inline: decode base64: illegal base64 data at input byte 0",
	} {
		sources, err := acquire.Sources(cmdline.Parse(line))

		names := make([]string, len(sources))
		for i, s := range sources {
			names[i] = s.String()
		}

		got := strings.Join(names, ", ")
		if err != nil {
			got = err.Error()
		}

		if got != want {
			t.Errorf("%s\n got %s\nwant %s", line, got, want)
		}
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"uuid": "u-1", "mac": "02:00:00:00:00:01", "serial": "a b&c", "hostname": "node"}

	for template, want := range map[string]string{
		"http://h/?u=${uuid}&m=${mac}&s=${serial}&h=${hostname}": "http://h/?u=u-1&m=02%3A00%3A00%3A00%3A00%3A01&s=a+b%26c&h=node",
		"http://h/${uuid}/${uuid}":                               "http://h/u-1/u-1",
		"http://h/${code}":                                       "${code} in http://h/${code} is unknown: there are ${uuid}, ${serial}, ${mac} and ${hostname}",
	} {
		got, err := acquire.Expand(template, func(name string) (string, error) { return values[name], nil })
		if err != nil {
			got = err.Error()
		}

		if got != want {
			t.Errorf("%s\n got %s\nwant %s", template, got, want)
		}
	}
}

func TestMeta(t *testing.T) {
	zipped := func(text string) string {
		var b bytes.Buffer

		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(text)); err != nil || w.Close() != nil {
			t.Fatal(err)
		}

		return base64.StdEncoding.EncodeToString(b.Bytes())
	}

	for text, want := range map[string]string{
		"":             "map[] <nil>",
		"MHhhPWZvbw==": "map[10:foo] <nil>", // the guide's own
		zipped("0xa=addresses: []\n;links: a=b;0x0c=x;12=y"): "map[10:addresses: []\n;links: a=b 12:y] <nil>",
		zipped("key=value"): `map[] "key=value" does not begin with KEY=, such as 0xa=`,
		zipped("0x100=v"):   `map[] META key: strconv.ParseUint: parsing "0x100": value out of range`,
		"H4sIAAAA":          "map[] unpack gzip: unexpected EOF",
	} {
		values, err := acquire.Meta(text)
		if got := render(values, err); got != want {
			t.Errorf("%q\n got %s\nwant %s", text, got, want)
		}
	}
}

func render(values map[uint8][]byte, err error) string {
	text := map[uint8]string{}
	for key, value := range values {
		text[key] = string(value)
	}

	return fmt.Sprintf("%v %v", text, err)
}

// TestFinderGoesOn: a server that is late, then has nothing, then something wrong, is asked until what it has is taken.
func TestFinderGoesOn(t *testing.T) {
	answers := []func(http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		func(http.ResponseWriter) {},
		func(w http.ResponseWriter) { fmt.Fprint(w, "wrong") },
		func(w http.ResponseWriter) { fmt.Fprint(w, "right") },
	}

	var asked []string

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers[min(len(asked), len(answers)-1)](w)
		asked = append(asked, r.URL.String())
	}))
	defer server.Close()

	var (
		log   bytes.Buffer
		taken string
	)

	ready := 0
	finder := acquire.Finder{
		Variable: func(context.Context, string) (string, error) {
			if ready++; ready == 1 {
				return "", errors.New("no link yet")
			}

			return "02:01", nil
		},
		Take: func(data []byte) error {
			if string(data) == "wrong" {
				return errors.New("line 1: what is this")
			}

			taken = string(data)

			return nil
		},
		Done: func() bool { return false },
		Log:  slog.New(slog.NewTextHandler(&log, nil)), First: time.Millisecond, Most: time.Millisecond,
	}

	if err := finder.Run(t.Context(), []acquire.Source{{URL: server.URL + "/c?m=${mac}"}}); err != nil {
		t.Fatal(err)
	}

	if taken != "right" || len(asked) != 4 || asked[0] != "/c?m=02%3A01" {
		t.Errorf("took %q after %v", taken, asked)
	}

	for _, word := range []string{"no link yet", "404 Not Found", "it is empty", "line 1: what is this", "configuration acquired", "attempt=5"} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("%q is not in the log\n%s", word, log.String())
		}
	}
}

func TestFinderEndsWhenAConfigurationCame(t *testing.T) {
	rounds := 0
	finder := acquire.Finder{
		Volume: func(string, string) ([]byte, error) { return nil, acquire.ErrNoVolume },
		Done:   func() bool { rounds++; return rounds > 3 },
		Log:    slog.New(slog.DiscardHandler), First: time.Millisecond, Most: time.Millisecond,
	}

	if err := finder.Run(t.Context(), []acquire.Source{{Label: "metal-iso", File: "config.yaml"}}); err != nil || rounds != 4 {
		t.Errorf("%v after %d rounds", err, rounds)
	}
}

// TestVolumes reads what genisoimage wrote, among devices that are something else.
func TestVolumes(t *testing.T) {
	dir := t.TempDir()
	volumes := acquire.Volumes{Sys: filepath.Join(dir, "sys"), Dev: filepath.Join(dir, "dev")}
	device := func(name, size string) string {
		if err := errors.Join(os.MkdirAll(filepath.Join(volumes.Sys, name), 0o755), os.MkdirAll(volumes.Dev, 0o755),
			os.WriteFile(filepath.Join(volumes.Sys, name, "size"), []byte(size+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}

		return filepath.Join(volumes.Dev, name)
	}

	long := strings.Repeat("# a configuration longer than a sector\n", 200)
	for name, text := range map[string]string{"config.yaml": long, "user-data": "user: data\n", "meta-data": "local-hostname: seeded\ninstance-id: i-1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	iso := func(device string, args ...string) {
		cmd := exec.CommandContext(t.Context(), "genisoimage", append([]string{"-quiet", "-o", device}, args...)...)
		cmd.Dir = dir

		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("genisoimage: %v\n%s", err, out)
		}
	}

	device("loop0", "0")

	if err := os.WriteFile(device("vda", "2048"), bytes.Repeat([]byte{7}, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}

	iso(device("sr0", "800"), "-V", "metal-iso", "-J", "-R", "config.yaml")
	iso(device("sr1", "800"), "-V", "CIDATA", "-J", "-R", "user-data", "meta-data")
	iso(device("sr2", "800"), "-V", "PLAIN", "-iso-level", "3", "config.yaml")

	for _, c := range []struct{ label, file, want string }{
		{"metal-iso", "config.yaml", long},
		{"cidata", "user-data", "user: data\n"},
		{"plain", "config.yaml", long},
		{"metal-iso", "user-data", "error: volume metal-iso of " + volumes.Dev + "/sr0 has no file user-data"},
		{"other", "config.yaml", "error: no such volume: other on none of 5 block devices"},
	} {
		data, err := volumes.ReadFile(c.label, c.file)

		got := string(data)
		if err != nil {
			got = "error: " + err.Error()
		}

		if got != c.want {
			t.Errorf("%s of %s: %.80q, want %.80q", c.file, c.label, got, c.want)
		}
	}

	data, err := volumes.ReadFile("cidata", "meta-data")
	if seed := acquire.ReadSeed(data); err != nil || seed != (acquire.Seed{Hostname: "seeded", InstanceID: "i-1"}) {
		t.Errorf("seed is %+v, %v", seed, err)
	}
}
