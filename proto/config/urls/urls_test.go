package urls_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config/urls"
)

func TestPublic(t *testing.T) {
	for raw, want := range map[string]string{
		"https://user:secret@a.example:8443/m/x?token=secret#secret": "https://a.example:8443/m/x",
		"https://secret@a.example":                                   "https://a.example",
		"https://user:p@secret@a.example/x":                          "https://a.example/x",
		"https://user:p/secret@a.example/x":                          "https://a.example/x",
		"https://user:sec ret%zz@a.example/x?secret":                 "https://a.example/x",
		"https://a.example/m/${uuid}?k=secret":                       "https://a.example/m/${uuid}",
		"user:secret@a.example/x":                                    "a.example/x",
		"a.example":                                                  "a.example",
		"?secret":                                                    "",
		"":                                                           "",
	} {
		if got := urls.Public(raw); got != want || strings.Contains(got, "secret") {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

// TestClean takes the errors that net/http and net/url make, which have URLs in them.
func TestClean(t *testing.T) {
	var location string

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}))
	defer server.Close()

	host := strings.TrimPrefix(server.URL, "http://")

	for _, place := range []string{
		"http://user:secret@" + host + "/again?token=secret", "http://user:secret@127.0.0.1:1/x?token=secret",
		"/%zz?token=secret", "http://user:sec ret@a.example/?token=secret", "nosuch://secret@a.example/?secret",
	} {
		location = place

		for _, asked := range []string{"http://user:secret@" + host + "/first?token=secret", place} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, asked, nil)
			if err == nil {
				_, err = http.DefaultClient.Do(request) //nolint:bodyclose // it fails
			}

			if err == nil {
				t.Fatalf("no error for %s", asked)
			}

			clean := urls.Clean(err)
			for _, secret := range []string{"secret", "sec ret", "ret@"} {
				if strings.Contains(clean.Error(), secret) {
					t.Errorf("%s, then %s: %v", asked, place, clean)
				}
			}

			if !errors.Is(clean, err) {
				t.Error("it is another error")
			}
		}
	}

	if err := urls.Clean(context.Canceled); !errors.Is(err, context.Canceled) || err.Error() != context.Canceled.Error() {
		t.Errorf("%v", err)
	}

	if urls.Clean(nil) != nil {
		t.Error("an error out of nothing")
	}
}
