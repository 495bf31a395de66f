// Package clientconfig reads and writes the client configuration file: contexts with endpoints, nodes and certificates.
package clientconfig

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"go.yaml.in/yaml/v4"
)

// Config is the file.
type Config struct {
	Context  string              `yaml:"context"`
	Contexts map[string]*Context `yaml:"contexts"`
}

// Context is how one cluster is reached; CA, Crt and Key are base64 of PEM.
type Context struct {
	Endpoints []string `yaml:"endpoints"`
	Nodes     []string `yaml:"nodes,omitempty"`
	CA        string   `yaml:"ca,omitempty"`
	Crt       string   `yaml:"crt,omitempty"`
	Key       string   `yaml:"key,omitempty"`
}

// NewContext makes a context from PEM.
func NewContext(endpoints []string, ca, crt, key []byte) *Context {
	encode := base64.StdEncoding.EncodeToString

	return &Context{Endpoints: endpoints, CA: encode(ca), Crt: encode(crt), Key: encode(key)}
}

// mounted is where a pod is given its configuration; it is read there and never written.
const mounted = "/var/run/secrets/talos.dev/config"

// Paths lists where the file may be; the first that exists counts. environ is os.Getenv.
func Paths(environ func(string) string) []string {
	var paths []string

	for _, name := range []string{"DACTYLCONFIG", "TALOSCONFIG"} {
		if path := environ(name); path != "" {
			paths = append(paths, path)
		}
	}

	// A relative HOME would be another place in each directory.
	if home := environ("HOME"); filepath.IsAbs(home) {
		paths = append(paths, filepath.Join(home, ".dactyl", "config"), filepath.Join(home, ".talos", "config"))
	}

	return append(paths, mounted)
}

// Find returns the first path that exists, else the first.
func Find(environ func(string) string) string {
	paths := Paths(environ)
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}

	return paths[0]
}

// WritePath is the file that changes go to: the one in use, else the first place for one. It is an error when neither HOME nor a
// variable of the environment names a place that is the user's own.
func WritePath(environ func(string) string) (string, error) {
	if path := Find(environ); path != mounted {
		return path, nil
	}

	why := "HOME is not set"
	if home := environ("HOME"); home != "" {
		why = fmt.Sprintf("HOME is %q, which is no absolute path", home)
		if filepath.IsAbs(home) {
			why = mounted + " is what this pod was given and is not written to"
		}
	}

	return "", fmt.Errorf("no place for the client configuration: %s; set DACTYLCONFIG or give --talosconfig FILE", why)
}

// Parse reads the file's bytes. Fields of other clients are passed over.
func Parse(data []byte) (*Config, error) {
	config := &Config{}
	if err := yaml.Unmarshal(data, config); err != nil {
		return nil, fmt.Errorf("parse client configuration: %w", err)
	}

	if config.Contexts == nil {
		config.Contexts = map[string]*Context{}
	}

	for name, context := range config.Contexts {
		if context == nil {
			config.Contexts[name] = &Context{}
		}
	}

	return config, nil
}

// Read opens the file; one that does not exist is empty.
func Read(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read client configuration: %w", err)
	}

	config, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}

	return config, nil
}

// Bytes encodes the file.
func (c *Config) Bytes() ([]byte, error) {
	var out bytes.Buffer

	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(4)

	if err := encoder.Encode(c); err != nil {
		return nil, fmt.Errorf("encode client configuration: %w", err)
	}

	return out.Bytes(), nil
}

// Write replaces the file at once, readable for its owner only, as it holds a key.
func (c *Config) Write(path string) error {
	data, err := c.Bytes()
	if err != nil {
		return err
	}

	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write client configuration: %w", err)
	}

	temporary, err := os.CreateTemp(filepath.Dir(path), ".config-*")
	if err != nil {
		return fmt.Errorf("write client configuration: %w", err)
	}

	_, err = temporary.Write(data)
	err = errors.Join(err, temporary.Sync(), temporary.Close())

	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}

	if err != nil {
		return errors.Join(fmt.Errorf("write client configuration: %w", err), os.Remove(temporary.Name()))
	}

	return nil
}

// Rename tells that a context got another name in a merge.
type Rename struct{ From, To string }

// Merge adds another file's contexts. One whose name is taken by a different context gets a number behind its name. The
// other file's current context becomes the current one.
func (c *Config) Merge(other *Config) []Rename {
	var renames []Rename

	if c.Contexts == nil {
		c.Contexts = map[string]*Context{}
	}

	for name, context := range other.Contexts {
		to := name
		for n := 1; c.Contexts[to] != nil && !reflect.DeepEqual(c.Contexts[to], context); n++ {
			to = fmt.Sprintf("%s-%d", name, n)
		}

		c.Contexts[to] = context

		if to != name {
			renames = append(renames, Rename{name, to})
		}

		if other.Context == name {
			c.Context = to
		}
	}

	return renames
}

// Current returns the named context, or the current one for "".
func (c *Config) Current(name string) (*Context, error) {
	if name == "" {
		name = c.Context
	}

	if name == "" {
		return nil, errors.New("no context is selected: choose one with config context NAME")
	}

	context := c.Contexts[name]
	if context == nil {
		return nil, fmt.Errorf("no context %q: config contexts lists them", name)
	}

	return context, nil
}

// PEM decodes the certificate authority, certificate and key.
func (c *Context) PEM() (ca, crt, key []byte, err error) {
	for _, part := range []struct {
		name, text string
		to         *[]byte
	}{{"ca", c.CA, &ca}, {"crt", c.Crt, &crt}, {"key", c.Key, &key}} {
		decoded, decodeErr := base64.StdEncoding.DecodeString(part.text)
		if decodeErr != nil {
			return nil, nil, nil, fmt.Errorf("client configuration: %s: %w", part.name, decodeErr)
		}

		*part.to = decoded
	}

	return ca, crt, key, nil
}

// TLS returns the client's side of mutual TLS.
func (c *Context) TLS() (*tls.Config, error) {
	ca, crt, key, err := c.PEM()
	if err != nil {
		return nil, err
	}

	config := &tls.Config{MinVersion: tls.VersionTLS13}

	if len(ca) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("client configuration: ca: no certificate in it")
		}
	}

	if len(crt) > 0 {
		pair, err := tls.X509KeyPair(crt, key)
		if err != nil {
			return nil, fmt.Errorf("client configuration: %w", err)
		}

		config.Certificates = []tls.Certificate{pair}
	}

	return config, nil
}
