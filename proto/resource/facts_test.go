package resource_test

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fact is one section of testdata/resources.txt, the contract's table.
type fact struct {
	namespace string
	sensitive bool
	aliases   []string
	columns   string
	yaml      map[string]string // protobuf number to YAML tag
	opaque    bool              // "not a plain struct"
}

func readFacts(t *testing.T) map[string]fact {
	t.Helper()
	var (
		facts   = map[string]fact{}
		name    string
		nested  bool
		header  = regexp.MustCompile(`^namespace: (\S+); sensitivity: (\S*); aliases: (.*)$`)
		keyLine = regexp.MustCompile(`^  (\d+) (\S*) \S`)
	)
	for _, line := range lines(t, "resources.txt") {
		f := facts[name]
		switch {
		case strings.HasPrefix(line, "### "):
			name, nested = strings.TrimPrefix(line, "### "), false
			f = fact{yaml: map[string]string{}}
		case header.MatchString(line):
			m := header.FindStringSubmatch(line)
			f.namespace, f.sensitive, f.aliases = m[1], m[2] == "sensitive", strings.Split(m[3], ",")
		case strings.HasPrefix(line, "columns: "):
			f.columns = strings.TrimPrefix(line, "columns: ")
		case line == "spec: (not a plain struct)":
			f.opaque = true
		case strings.HasPrefix(line, " ") && strings.HasSuffix(line, ":"):
			nested = true
		case !nested && keyLine.MatchString(line):
			m := keyLine.FindStringSubmatch(line)
			f.yaml[m[1]] = m[2]
		}
		if name != "" {
			facts[name] = f
		}
	}
	if len(facts) < 100 {
		t.Fatalf("only %d types in the table", len(facts))
	}

	return facts
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for s := bufio.NewScanner(f); s.Scan(); {
		out = append(out, s.Text())
	}

	return out
}
