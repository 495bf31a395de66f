// Package cmdline parses the kernel's command line: parameters with several values, and the names of those that are read.
package cmdline

import (
	"os"
	"slices"
	"strings"
)

// Names of the parameters that Dactyl reads.
const (
	Platform              = "talos.platform"
	Config                = "talos.config"
	ConfigInline          = "talos.config.inline"
	OAuthClientID         = "talos.config.oauth.client_id"
	OAuthClientSecret     = "talos.config.oauth.client_secret"
	OAuthAudience         = "talos.config.oauth.audience"
	OAuthScope            = "talos.config.oauth.scope"
	OAuthDeviceAuthURL    = "talos.config.oauth.device_auth_url"
	OAuthTokenURL         = "talos.config.oauth.token_url"
	OAuthExtraVariable    = "talos.config.oauth.extra_variable"
	Environment           = "talos.environment"
	Hostname              = "talos.hostname"
	Shutdown              = "talos.shutdown"
	Wipe                  = "talos.experimental.wipe"
	HaltIfInstalled       = "talos.halt_if_installed"
	IgnoreInterface       = "talos.network.interface.ignore"
	LoggingKernel         = "talos.logging.kernel"
	EventsSink            = "talos.events.sink"
	DashboardDisabled     = "talos.dashboard.disabled"
	DeviceSettleTime      = "talos.device.settle_time"
	IPConfig              = "ip"
	Bond                  = "bond"
	VLAN                  = "vlan"
	PredictableNames      = "net.ifnames"
	Panic                 = "panic"
	defaultParametersFile = "/proc/cmdline"
)

// Parameters are the parsed command line. A key may have several values, kept in order; a key without "=" has the value "".
type Parameters struct {
	values map[string][]string
	keys   []string
}

// Read parses the running kernel's command line; root is put before /proc/cmdline.
func Read(root string) (Parameters, error) {
	data, err := os.ReadFile(strings.TrimSuffix(root, "/") + defaultParametersFile)

	return Parse(string(data)), err
}

// Parse splits a command line as the kernel does: at white space, except between double quotes, which are dropped when
// they surround a value or a whole parameter. What follows "--" is for init and left out. "-" and "_" in keys are equal
// to the kernel; keys are kept as they were written. What is no UTF-8, which values end up in, becomes U+FFFD.
func Parse(line string) Parameters {
	p := Parameters{values: map[string][]string{}}

	for _, field := range split(strings.ToValidUTF8(line, "\uFFFD")) {
		if field == "--" {
			break
		}

		key, value, _ := strings.Cut(unquote(field), "=")
		if key == "" {
			continue
		}

		p.add(key, unquote(value))
	}

	return p
}

func (p *Parameters) add(key, value string) {
	if _, ok := p.values[key]; !ok {
		p.keys = append(p.keys, key)
	}

	p.values[key] = append(p.values[key], value)
}

// split cuts at white space outside of double quotes.
func split(line string) []string {
	quoted := false

	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}

		return !quoted && (r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\v' || r == '\f')
	})
}

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}

	return s
}

// Has tells whether the key is there, with or without a value.
func (p Parameters) Has(key string) bool { return len(p.values[key]) > 0 }

// First gives the first value of key; false when it is not there.
func (p Parameters) First(key string) (string, bool) {
	if v := p.values[key]; len(v) > 0 {
		return v[0], true
	}

	return "", false
}

// Last gives the last value of key, which wins where only one can; "" when it is not there.
func (p Parameters) Last(key string) string {
	v := p.values[key]
	if len(v) == 0 {
		return ""
	}

	return v[len(v)-1]
}

// All gives every value of key in order.
func (p Parameters) All(key string) []string { return slices.Clone(p.values[key]) }

// Keys gives every key in the order of first appearance.
func (p Parameters) Keys() []string { return slices.Clone(p.keys) }

// Bool reads a switch: 1, true, yes, on, y or no value at all are true, everything else and absence false.
func (p Parameters) Bool(key string) bool {
	switch v, ok := p.First(key); strings.ToLower(v) {
	case "":
		return ok
	case "1", "true", "yes", "on", "y":
		return true
	default:
		return false
	}
}

// String gives a command line that parses to the same parameters; the values of one key stand together.
func (p Parameters) String() string {
	var fields []string

	for _, key := range p.keys {
		for _, value := range p.values[key] {
			field := key
			if value != "" || key == "--" {
				field += "=" + value
			}

			if strings.ContainsAny(field, " \t\n\r\v\f") {
				field = `"` + field + `"`
			}

			fields = append(fields, field)
		}
	}

	return strings.Join(fields, " ")
}

// Variables gives the talos.environment values as a map; later ones win, and values without "=" are left out.
func (p Parameters) Variables() map[string]string {
	variables := map[string]string{}

	for _, assignment := range p.values[Environment] {
		if key, value, ok := strings.Cut(assignment, "="); ok && key != "" {
			variables[key] = value
		}
	}

	return variables
}
