package images

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Handler serves a layout read-only as a registry (OCI distribution-spec). An image is found by its full name, as REGISTRY/NAME,
// by NAME and the query ?ns=REGISTRY that containerd asks mirrors with, and by NAME alone when one registry only has it. index.json is
// read for each question about a name: what is built meanwhile is there.
func Handler(l Layout) http.Handler {
	h := handler{l}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, struct{}{}) })
	mux.HandleFunc("GET /v2/_catalog", h.catalog)
	mux.HandleFunc("GET /v2/", h.repository)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only")

			return
		}

		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "the API begins at /v2/")
	})

	return versioned(mux)
}

func versioned(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		next.ServeHTTP(w, r)
	})
}

type handler struct{ layout Layout }

// action is what follows a repository's name in a path.
var action = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|tags|referrers)/([^/]+)$`)

func (h handler) repository(w http.ResponseWriter, r *http.Request) {
	parts := action.FindStringSubmatch(r.URL.Path)
	if parts == nil {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "want /v2/NAME/manifests/REFERENCE, blobs/DIGEST or tags/list")

		return
	}

	tags, err := h.find(parts[1], r.URL.Query().Get("ns"))

	switch {
	case err != nil:
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
	case len(tags) == 0:
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "no repository "+parts[1])
	case parts[2] == "blobs":
		h.blob(w, r, parts[3], "application/octet-stream")
	case parts[2] == "tags" && parts[3] == "list":
		answer(w, map[string]any{"name": parts[1], "tags": sorted(tags)})
	case parts[2] == "manifests":
		h.manifest(w, r, tags, parts[1], parts[3])
	default:
		refuse(w, http.StatusNotFound, "UNSUPPORTED", "not served: "+parts[2])
	}
}

// find gives the tags of a repository and their digests; none when there is no such repository, or two registries have one.
func (h handler) find(repository, namespace string) (map[string]v1.Hash, error) {
	list, err := h.layout.descriptors()
	if err != nil {
		return nil, err
	}

	if namespace != "" && !strings.HasPrefix(repository, namespace+"/") {
		repository = namespace + "/" + repository
	}

	exact, short := map[string]v1.Hash{}, map[string]map[string]v1.Hash{}

	for _, image := range list {
		full, tag := split(image.Name)
		registry, name, _ := strings.Cut(full, "/")

		switch repository {
		case full:
			exact[tag] = image.Digest
		case name:
			if short[registry] == nil {
				short[registry] = map[string]v1.Hash{}
			}

			short[registry][tag] = image.Digest
		}
	}

	if len(exact) > 0 || len(short) != 1 {
		return exact, nil
	}

	for _, tags := range short {
		exact = tags
	}

	return exact, nil
}

// split takes the tag from a name; a colon before a slash is a port's.
func split(image string) (repository, tag string) {
	if at := strings.LastIndex(image, ":"); at > strings.LastIndex(image, "/") {
		return image[:at], image[at+1:]
	}

	return image, "latest"
}

func sorted(tags map[string]v1.Hash) []string {
	names := make([]string, 0, len(tags))
	for tag := range tags {
		names = append(names, tag)
	}

	slices.Sort(names)

	return names
}

func (h handler) manifest(w http.ResponseWriter, r *http.Request, tags map[string]v1.Hash, repository, reference string) {
	if digest, ok := tags[reference]; ok {
		reference = digest.String()
	} else if !strings.Contains(reference, ":") {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", fmt.Sprintf("no tag %s of %s", reference, repository))

		return
	}

	data, err := h.small(reference)
	if err != nil {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", fmt.Sprintf("no manifest %s of %s", reference, repository))

		return
	}

	var kind struct {
		MediaType string `json:"mediaType"`
	}
	if err = json.Unmarshal(data, &kind); err != nil || kind.MediaType == "" {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", reference+" is no manifest")

		return
	}

	w.Header().Set("Content-Type", kind.MediaType)
	w.Header().Set("Docker-Content-Digest", reference)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// manifestLimit is what clients accept at most (distribution-spec: 4 MiB).
const manifestLimit = 4 << 20

func (h handler) small(digest string) ([]byte, error) {
	file, err := h.open(digest)
	if err != nil {
		return nil, err
	}
	defer file.Close() // only read

	info, err := file.Stat()
	if err != nil {
		return nil, err
	}

	if info.Size() > manifestLimit {
		return nil, errors.New("too large for a manifest")
	}

	data := make([]byte, info.Size())
	_, err = file.ReadAt(data, 0)

	return data, err
}

func (h handler) open(digest string) (*os.File, error) {
	hash, err := v1.NewHash(digest) // no path: hexadecimal digits of the right number only
	if err != nil {
		return nil, err
	}

	return os.Open(filepath.Join(h.layout.Dir, "blobs", hash.Algorithm, hash.Hex))
}

func (h handler) blob(w http.ResponseWriter, r *http.Request, digest, mediaType string) {
	file, err := h.open(digest)
	if err != nil {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "no blob "+digest)

		return
	}
	defer file.Close() // only read

	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", digest)
	http.ServeContent(w, r, "", time.Time{}, file)
}

// catalog lists repositories with their registries.
func (h handler) catalog(w http.ResponseWriter, _ *http.Request) {
	list, err := h.layout.descriptors()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())

		return
	}

	names := []string{}

	for _, image := range list {
		name, _ := split(image.Name)
		names = append(names, name)
	}

	slices.Sort(names)
	answer(w, map[string]any{"repositories": slices.Compact(names)})
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")

	data, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)

		return
	}

	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // a client that went away
}

// refuse answers in the form of the distribution-spec.
func refuse(w http.ResponseWriter, status int, code, message string) {
	data, err := json.Marshal(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)

		return
	}

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data) // a client that went away
}
