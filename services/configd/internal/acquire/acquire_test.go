package acquire_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

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
		"talos.platform=metal talos.config=http://me:pw@10.0.0.1/${uuid}?m=${mac}":                      "http://10.0.0.1/${uuid}",
		"talos.platform=metal talos.config=metal-iso":                                                   "config.yaml on volume metal-iso",
		"talos.platform=metal talos.config.inline=" + inline:                                            "talos.config.inline",
		"talos.platform=metal talos.config=metal-iso talos.config.inline=" + inline:                     "talos.config.inline, config.yaml on volume metal-iso",
		"talos.platform=metal talos.config.inline=" + inline[:8] + " talos.config.inline=" + inline[8:]: "talos.config.inline",
		"talos.platform=nocloud":                                                                        "user-data on volume cidata",
		"talos.platform=aws":                                                                            "talos.platform=aws is not supported yet: use metal or nocloud; until then apply a configuration through the API",
		"talos.platform=metal talos.config=ftp://me:pw@a":                                               "talos.config=ftp://a: give an http:// or https:// URL, or metal-iso",
		"talos.platform=metal talos.config.inline=%":                                                    "talos.config.inline",
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
		log      bytes.Buffer
		taken    string
		refusals []bool
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
		Done: func() bool { return false }, Private: func() bool { return false },
		Asked: func(refused error) error {
			refusals = append(refusals, refused != nil)

			return nil
		},
		Log: slog.New(slog.NewTextHandler(&log, nil)), First: time.Millisecond, Most: time.Millisecond,
	}

	if err := finder.Run(t.Context(), []acquire.Source{{URL: server.URL + "/c?m=${mac}"}}); err != nil {
		t.Fatal(err)
	}

	if taken != "right" || len(asked) != 4 || asked[0] != "/c?m=02%3A01" {
		t.Errorf("took %q after %v", taken, asked)
	}

	// Of no variable, no answer, an empty one and a wrong one, only the last is a configuration that was meant for the machine.
	if want := []bool{false, false, false, true}; !slices.Equal(refusals, want) {
		t.Errorf("refused in the rounds: %v, want %v", refusals, want)
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
		Volume: func(context.Context, string, string) ([]byte, error) { return nil, acquire.ErrNoVolume },
		Done:   func() bool { rounds++; return rounds > 3 },
		Asked:  func(refused error) error { return refused },
		Log:    slog.New(slog.DiscardHandler), First: time.Millisecond, Most: time.Millisecond,
	}

	if err := finder.Run(t.Context(), []acquire.Source{{Label: "metal-iso", File: "config.yaml"}}); err != nil || rounds != 4 {
		t.Errorf("%v after %d rounds", err, rounds)
	}
}

// TestRefused: what is there but is no configuration is told apart from what is not there; and a damaged configuration is
// not replaced by what anybody on the way can play.
func TestRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "half")
	}))
	defer server.Close()

	for _, step := range []struct {
		source  acquire.Source
		volume  error
		private bool
		words   string
	}{
		{source: acquire.Source{Inline: "%"}, words: "decode base64"},
		{source: acquire.Source{URL: server.URL}, words: "unexpected EOF"},
		{source: acquire.Source{URL: server.URL}, private: true},
		{source: acquire.Source{Label: "cidata"}, volume: errors.New("mount: wrong superblock"), words: "wrong superblock"},
		{source: acquire.Source{Label: "cidata"}, volume: fs.ErrNotExist},
		{source: acquire.Source{Label: "cidata"}, volume: acquire.ErrNoVolume},
		{source: acquire.Source{URL: "http://127.0.0.1:1/"}},
	} {
		enough := errors.New("enough")
		finder := acquire.Finder{
			Volume:  func(context.Context, string, string) ([]byte, error) { return nil, step.volume },
			Done:    func() bool { return false },
			Private: func() bool { return step.private },
			Asked:   func(refused error) error { return errors.Join(enough, refused) },
			Log:     slog.New(slog.DiscardHandler),
		}

		err := finder.Run(t.Context(), []acquire.Source{step.source})
		if got := strings.TrimPrefix(err.Error(), "enough"); (step.words == "") != (got == "") || !strings.Contains(got, step.words) {
			t.Errorf("%+v: %q", step, got)
		}
	}
}

// TestReadFile: a volume is somebody else's, so only what is on it is read.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	volume := filepath.Join(dir, "volume")

	if err := errors.Join(
		os.WriteFile(secret, []byte("secret"), 0o600), os.MkdirAll(filepath.Join(volume, "directory"), 0o755),
		os.WriteFile(filepath.Join(volume, "user-data"), []byte("user: data\n"), 0o644),
		os.Symlink("user-data", filepath.Join(volume, "within")),
		os.Symlink(secret, filepath.Join(volume, "absolute")), os.Symlink("../secret", filepath.Join(volume, "relative")),
		unix.Mkfifo(filepath.Join(volume, "pipe"), 0o644),
	); err != nil {
		t.Fatal(err)
	}

	for name, want := range map[string]string{
		"user-data": "user: data\n", "within": "user: data\n",
		"absolute": "error: path escapes", "relative": "error: path escapes", "../secret": "error: path escapes",
		"directory": "error: directory is not a regular file", "pipe": "error: pipe is not a regular file", "none": "error: no such file",
	} {
		data, err := acquire.ReadFile(volume, name)

		got := string(data)
		if err != nil {
			words := strings.Split(err.Error(), ": ")
			got = "error: " + words[len(words)-1]
		}

		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestReadSeed(t *testing.T) {
	seed := acquire.ReadSeed([]byte("local-hostname: seeded\ninstance-id: i-1\nother: {a: 1}\n"))
	if seed != (acquire.Seed{Hostname: "seeded", InstanceID: "i-1"}) {
		t.Errorf("seed is %+v", seed)
	}
}
