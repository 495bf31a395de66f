package images

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// Logged writes a line for each request: the status, who asked, and what for.
func Logged(next http.Handler, out io.Writer) http.Handler {
	var one sync.Mutex

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answered := &status{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(answered, r)

		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}

		one.Lock()
		defer one.Unlock()

		fmt.Fprintf(out, "%d %s %s %q\n", answered.code, host, r.Method, r.URL.RequestURI())
	})
}

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController find what is beneath.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
