// Package cmdline parses the kernel's command line: parameters with several values, talos.* and ip=.
package cmdline

// Parameters are the parsed command line; a key may have several values, in order. A key without "=" has the value "".
type Parameters struct {
	values map[string][]string
	order  []string
}

// Parse splits a command line as the kernel does (double quotes protect spaces).
func Parse(line string) Parameters {
	_ = line

	return Parameters{values: map[string][]string{}}
}

// First gives the first value of key; false when it is not there.
func (p Parameters) First(key string) (string, bool) {
	if v := p.values[key]; len(v) > 0 {
		return v[0], true
	}

	return "", false
}

// All gives every value of key in order.
func (p Parameters) All(key string) []string { return p.values[key] }
