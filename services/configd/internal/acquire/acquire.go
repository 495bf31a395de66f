// Package acquire finds a machine's first configuration: which sources a machine has is decided purely from its kernel
// command line, then they are asked until one answers or a configuration comes another way.
package acquire

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/dactyl-os/dactyl/services/kit/cmdline"
)

// Labels and files of volumes with a configuration.
const (
	metalISO     = "metal-iso"
	metalISOFile = "config.yaml"
	seed         = "cidata"
	seedUserData = "user-data"
)

// limit bounds a configuration and what comes out of a compressed one.
const limit = 32 << 20

// Source is one place to look for a configuration; exactly one of its fields is set.
type Source struct {
	// Inline is the configuration itself.
	Inline []byte
	// URL may have variables.
	URL string
	// Label names a volume with File at its root.
	Label, File string
}

// String names the source in logs.
func (s Source) String() string {
	switch {
	case s.Inline != nil:
		return cmdline.ConfigInline
	case s.URL != "":
		return s.URL
	default:
		return s.File + " on volume " + s.Label
	}
}

// Sources decides where a machine looks. A platform without one has a nil slice; an unknown platform is an error that says
// what there is.
func Sources(params cmdline.Parameters) ([]Source, error) {
	var sources []Source

	platform := params.Last(cmdline.Platform)

	switch platform {
	case "", "container":
		return nil, nil
	case "nocloud":
		return []Source{{Label: seed, File: seedUserData}}, nil
	case "metal":
	default:
		return nil, fmt.Errorf("talos.platform=%s is not supported yet: use metal or nocloud; until then apply a configuration through the API", platform)
	}

	if inline := params.All(cmdline.ConfigInline); len(inline) > 0 {
		// Boot loaders cut long parameters, so the value may come in pieces.
		data, err := Inline(strings.Join(inline, ""))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", cmdline.ConfigInline, err)
		}

		sources = append(sources, Source{Inline: data})
	}

	switch location := params.Last(cmdline.Config); {
	case location == "" || location == "none":
	case location == metalISO:
		sources = append(sources, Source{Label: metalISO, File: metalISOFile})
	case strings.HasPrefix(location, "http://"), strings.HasPrefix(location, "https://"):
		sources = append(sources, Source{URL: location})
	default:
		return sources, fmt.Errorf("%s=%s: give an http:// or https:// URL, or %s", cmdline.Config, location, metalISO)
	}

	return sources, nil
}

// Inline decodes base64 of zstd.
func Inline(text string) ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("decode base64: %w", err)
	}

	decoder, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderMaxMemory(limit), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("unpack zstd: %w", err)
	}
	defer decoder.Close()

	data, err := read(decoder)
	if err != nil {
		return nil, fmt.Errorf("unpack zstd: %w", err)
	}

	return data, nil
}

func read(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && len(data) > limit {
		err = fmt.Errorf("more than %d MiB", limit>>20)
	}

	return data, err
}

// Finder asks sources.
type Finder struct {
	// Variable gives a variable's value; an error means not yet.
	Variable func(ctx context.Context, name string) (string, error)
	// Volume reads a file of the volume with a label.
	Volume func(ctx context.Context, label, file string) ([]byte, error)
	// Take puts a configuration in force.
	Take func([]byte) error
	// Done says that there is one meanwhile.
	Done func() bool
	Log  *slog.Logger
	// First and Most are the times between two rounds; 0 is 500 ms and 15 s.
	First, Most time.Duration
}

// Run asks the sources in turn, again and again, until one's configuration was taken.
func (f Finder) Run(ctx context.Context, sources []Source) error {
	pause, most := f.First, f.Most
	if pause == 0 {
		pause, most = 500*time.Millisecond, 15*time.Second
	}

	told := map[string]string{}

	for attempt := 1; len(sources) > 0; attempt++ {
		for _, source := range sources {
			if f.Done() || ctx.Err() != nil {
				return nil
			}

			err := f.try(ctx, source)
			if err == nil {
				f.Log.Info("configuration acquired", "source", source.String(), "attempt", attempt)

				return nil
			}

			// A word each time would fill the log of a machine that waits for somebody.
			if words := err.Error(); told[source.String()] != words || attempt%20 == 0 {
				told[source.String()] = words
				f.Log.Warn("no configuration yet", "source", source.String(), "attempt", attempt, "error", err)
			}
		}

		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
			pause = min(pause*3/2, most)
		}
	}

	return nil
}

func (f Finder) try(ctx context.Context, source Source) error {
	data, err := f.fetch(ctx, source)
	if err != nil {
		return err
	}

	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("it is empty")
	}

	return f.Take(data)
}

func (f Finder) fetch(ctx context.Context, source Source) ([]byte, error) {
	switch {
	case source.Inline != nil:
		return source.Inline, nil
	case source.URL != "":
		return f.download(ctx, source.URL)
	default:
		return f.Volume(ctx, source.Label, source.File)
	}
}

// answerTimeout bounds one download.
const answerTimeout = time.Minute

func (f Finder) download(ctx context.Context, template string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()

	location, err := Expand(template, func(name string) (string, error) { return f.Variable(ctx, name) })
	if err != nil {
		return nil, err
	}

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", location, err)
	}

	// One connection for one answer: none is kept.
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}

	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // only read

	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("download %s: the server says %s", location, response.Status)
	}

	data, err := read(response.Body)
	if err != nil {
		return nil, fmt.Errorf("download %s: %w", location, err)
	}

	return data, nil
}
