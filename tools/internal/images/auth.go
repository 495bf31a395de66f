package images

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"os"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Users tells whether a name and a password belong together.
type Users func(name, password string) bool

// OneUser is a single name and password.
func OneUser(name, password string) Users {
	want := sha256.Sum256([]byte(name + "\x00" + password))

	return func(name, password string) bool {
		got := sha256.Sum256([]byte(name + "\x00" + password))

		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
}

// ReadHtpasswd reads NAME:HASH lines with bcrypt hashes, as `htpasswd -B` writes them.
func ReadHtpasswd(path string) (Users, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // only read

	hashes := map[string][]byte{}
	lines := bufio.NewScanner(file)

	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}

		name, hash, _ := strings.Cut(line, ":")
		if _, err = bcrypt.Cost([]byte(hash)); err != nil {
			return nil, fmt.Errorf("%s:%d: want NAME:HASH with a bcrypt hash (htpasswd -B): %w", path, number, err)
		}

		hashes[name] = []byte(hash)
	}

	return func(name, password string) bool {
		hash, ok := hashes[name]

		return ok && bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
	}, lines.Err()
}

// Protect asks for a name and a password (HTTP Basic, RFC 7617).
func Protect(next http.Handler, users Users) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, ok := r.BasicAuth(); ok && users(name, password) {
			next.ServeHTTP(w, r)

			return
		}

		w.Header().Set("WWW-Authenticate", `Basic realm="images"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "a user name and a password are needed")
	})
}
