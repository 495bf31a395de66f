package jsonpath

import (
	"strings"
	"testing"
)

func TestPaths(t *testing.T) {
	root := map[string]any{
		"address":   "10.5.0.2/24",
		"addresses": []any{"a", "b", "c"},
		"endpoints": []any{map[string]any{"host": "h1", "port": 1}, map[string]any{"host": "h2", "port": 2}},
		"conditions": []any{
			map[string]any{"type": "Init", "status": "False"}, map[string]any{"type": "Ready", "status": "True"},
		},
		"labels": map[string]any{"node.io/role": "x"},
		"up":     true,
		"none":   nil,
	}
	for path, want := range map[string]string{
		"{.address}":           "10.5.0.2/24",
		".address":             "10.5.0.2/24",
		"{.addresses}":         `["a","b","c"]`,
		"{.addresses[*]}":      "a b c",
		"{.addresses[:]}":      "a b c",
		"{.addresses[1:]}":     "b c",
		"{.addresses[-1]}":     "c",
		"{.addresses[9]}":      "",
		"{.endpoints[*].host}": "h1 h2",
		`{.conditions[?(@.type=="Ready")].status}`: "True",
		`{.endpoints[?(@.port>1)].host}`:           "h2",
		`{.labels['node.io/role']}`:                "x",
		`{.labels.node\.io/role}`:                  "x",
		"{..host}":                                 "h1 h2",
		"{.up}":                                    "true",
		"{.none}":                                  "",
		"{.missing.deep}":                          "",
		`at {.address}{"\n"}`:                      "at 10.5.0.2/24\n",
	} {
		p, err := Parse(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)

			continue
		}
		var b strings.Builder
		if err := p.Write(&b, root); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%s: %q, want %q", path, b.String(), want)
		}
	}
	p, _ := Parse("{@}")
	if got := Join(p.Find("worker")); got != "worker" {
		t.Errorf("{@}: %q", got)
	}
	for _, bad := range []string{"{.a", "{.a[}", "{.a[x]}", "{..}", "{.a[1:b]}"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"{.a.b[*]}", `{.c[?(@.t=="x")].s}`, "{..x[1:2]}", "{@}", `t{"\n"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if p, err := Parse(path); err == nil {
			p.Find(map[string]any{"a": []any{"b", map[string]any{"t": "x"}}})
		}
	})
}
