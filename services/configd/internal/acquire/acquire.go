// Package acquire finds a machine's first configuration: which sources a machine has is decided purely from its kernel
// command line, then they are asked until one answers or a configuration comes another way.
package acquire

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/dactyl-os/dactyl/proto/config/urls"
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
	// Inline is the configuration itself, packed.
	Inline string
	// URL may have variables.
	URL string
	// Label names a volume with File at its root.
	Label, File string
}

// String names the source in logs.
func (s Source) String() string {
	switch {
	case s.Inline != "":
		return cmdline.ConfigInline
	case s.URL != "":
		return urls.Public(s.URL)
	default:
		return s.File + " on volume " + s.Label
	}
}

// Private says that nobody on the way can play the source.
func (s Source) Private() bool { return !strings.HasPrefix(s.URL, "http://") }

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

	// Boot loaders cut long parameters, so the value may come in pieces.
	if inline := strings.Join(params.All(cmdline.ConfigInline), ""); inline != "" {
		sources = append(sources, Source{Inline: inline})
	}

	switch location := params.Last(cmdline.Config); {
	case location == "" || location == "none":
	case location == metalISO:
		sources = append(sources, Source{Label: metalISO, File: metalISOFile})
	case strings.HasPrefix(location, "http://"), strings.HasPrefix(location, "https://"):
		sources = append(sources, Source{URL: location})
	default:
		return sources, fmt.Errorf("%s=%s: give an http:// or https:// URL, or %s", cmdline.Config, urls.Public(location), metalISO)
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

// answerTimeout bounds one download.
const answerTimeout = time.Minute

func (f Finder) download(ctx context.Context, template string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()

	location, err := Expand(template, func(name string) (string, error) { return f.Variable(ctx, name) })
	if err != nil {
		return nil, urls.Clean(err)
	}

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", urls.Clean(err))
	}

	// One connection for one answer: none is kept.
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}

	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("download: %w", urls.Clean(err))
	}
	defer response.Body.Close() // only read

	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("download %s: the server says %s", urls.Public(location), response.Status)
	}

	data, err := read(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: download %s: %w", errUnusable, urls.Public(location), err)
	}

	return data, nil
}
