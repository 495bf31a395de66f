// Package urls tells of a URL what may be told: where it leads, not the user, the password and the query that get one in.
package urls

import (
	"regexp"
	"strings"
)

// Public gives scheme, host and path; also of what is no valid URL.
func Public(raw string) string {
	raw, _, _ = strings.Cut(raw, "#")
	raw, _, _ = strings.Cut(raw, "?")

	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		scheme, rest = "", raw
	} else {
		scheme += "://"
	}

	host, path := rest, ""
	if at := strings.IndexByte(rest, '/'); at >= 0 {
		host, path = rest[:at], rest[at:]
	}

	// A password with a slash in it is a mistake of many.
	if at := strings.LastIndexByte(rest, '@'); at >= len(host) {
		host, path = rest[at+1:], ""
	}

	return scheme + host[strings.LastIndexByte(host, '@')+1:] + path
}

// hidden finds URLs in a text, in quotes or not, and queries.
var hidden = regexp.MustCompile(`"[^"]*(://|\?)[^"]*"|[A-Za-z][A-Za-z0-9+.-]*://\S*[^\s:,;]|\?\S+=\S*`)

// Text gives a text with every URL in it as [Public] tells it.
func Text(text string) string {
	return hidden.ReplaceAllStringFunc(text, func(match string) string {
		if inner, quoted := strings.CutPrefix(match, `"`); quoted {
			return `"` + Public(strings.TrimSuffix(inner, `"`)) + `"`
		}

		return Public(match)
	})
}

// Clean gives the same error with every URL in its words as [Public] tells it. Errors of net/http and net/url have the whole
// URL in them, also that of a redirect.
func Clean(err error) error {
	if err == nil {
		return nil
	}

	return cleaned{err}
}

type cleaned struct{ error }

func (c cleaned) Error() string { return Text(c.error.Error()) }

func (c cleaned) Unwrap() error { return c.error }
