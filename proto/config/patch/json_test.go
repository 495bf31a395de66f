package patch_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
)

// policy is where the contract takes any object; @ stands for it in the cases.
const policy = "/cluster/apiServer/auditPolicy"

// TestJSONPatchRFC has a case for each of RFC 6902, appendix A (the number is the section's), and some that it leaves out.
func TestJSONPatchRFC(t *testing.T) {
	for _, c := range []struct{ name, object, patch, want, wrong string }{
		{"A.1 a member is added", `{"stage": "x"}`, `[{"op": "add", "path": "@/level", "value": "y"}]`, `{"level":"y","stage":"x"}`, ""},
		{"A.1 a member that is there is replaced", `{"a": 1}`, `[{"op": "add", "path": "@/a", "value": [2]}]`, `{"a":[2]}`, ""},
		{"A.2 an element is put before another", `{"a": ["x", "z"]}`, `[{"op": "add", "path": "@/a/1", "value": "y"}]`, `{"a":["x","y","z"]}`, ""},
		{"A.2 at the end, by its index", `{"a": ["x"]}`, `[{"op": "add", "path": "@/a/1", "value": "y"}]`, `{"a":["x","y"]}`, ""},
		{"A.3 a member is removed", `{"a": 1, "b": 2}`, `[{"op": "remove", "path": "@/b"}]`, `{"a":1}`, ""},
		{"A.3 a member that is not there", `{"a": 1}`, `[{"op": "remove", "path": "@/b"}]`, "", "there is no " + policy + "/b"},
		{"A.4 an element is removed", `{"a": ["x", "y", "z"]}`, `[{"op": "remove", "path": "@/a/1"}]`, `{"a":["x","z"]}`, ""},
		{"A.4 the place after the last is empty", `{"a": ["x"]}`, `[{"op": "remove", "path": "@/a/-"}]`, "", "there is no " + policy + "/a/-"},
		{"A.5 a value is replaced", `{"a": 1, "b": 2}`, `[{"op": "replace", "path": "@/a", "value": {"c": null}}]`, `{"a":{"c":null},"b":2}`, ""},
		{"A.6 a value is moved to another object", `{"a": {"x": 1, "y": 2}, "b": {"z": 3}}`, `[{"op": "move", "from": "@/a/y", "path": "@/b/w"}]`, `{"a":{"x":1},"b":{"w":2,"z":3}}`, ""},
		{"A.7 an element is moved: removed first", `{"a": [1, 2, 3, 4]}`, `[{"op": "move", "from": "@/a/1", "path": "@/a/3"}]`, `{"a":[1,3,4,2]}`, ""},
		{"A.7 beyond the list that is left", `{"a": [1, 2]}`, `[{"op": "move", "from": "@/a/0", "path": "@/a/2"}]`, "", "index 2 is beyond the end"},
		{"A.8 tests that hold", `{"a": "x", "b": ["y", 2, {"c": true}]}`, `[{"op": "test", "path": "@/a", "value": "x"}, {"op": "test", "path": "@/b/1", "value": 2},
			{"op": "test", "path": "@/b", "value": ["y", 2, {"c": true}]}]`, `{"a":"x","b":["y",2,{"c":true}]}`, ""},
		{"A.8 members in another order", `{"a": {"x": 1, "y": 2}}`, `[{"op": "test", "path": "@/a", "value": {"y": 2, "x": 1}}]`, `{"a":{"x":1,"y":2}}`, ""},
		{"A.9 a test that does not hold", `{"a": "x"}`, `[{"op": "test", "path": "@/a", "value": "y"}]`, "", "the value is another one"},
		{"A.9 elements in another order", `{"a": [1, 2]}`, `[{"op": "test", "path": "@/a", "value": [2, 1]}]`, "", "the value is another one"},
		{"A.10 an object is added", `{"a": 1}`, `[{"op": "add", "path": "@/b", "value": {"c": {}}}]`, `{"a":1,"b":{"c":{}}}`, ""},
		{"A.11 other members of an operation do not count", `{"a": 1}`, `[{"op": "add", "path": "@/b", "value": 2, "why": "because"}]`, `{"a":1,"b":2}`, ""},
		{"A.12 what would hold the value is not there", `{"a": 1}`, `[{"op": "add", "path": "@/b/c", "value": 2}]`, "", "there is no " + policy + "/b"},
		{"A.12 or holds nothing", `{"a": 1}`, `[{"op": "add", "path": "@/a/c", "value": 2}]`, "", policy + "/a is neither a mapping nor a list"},
		{"A.13 an operation with two of op", `{"a": 1}`, `[{"op": "add", "path": "@/b", "value": 2, "op": "remove"}]`, "", `operation 1, line 1: "op" is written twice`},
		{"A.14 ~01 is ~1 and not a slash", `{"/": 9, "~1": 10}`, `[{"op": "test", "path": "@/~01", "value": 10}, {"op": "replace", "path": "@/~1", "value": 8}]`, `{"/":8,"~1":10}`, ""},
		{"A.15 a number is no string", `{"a": 10}`, `[{"op": "test", "path": "@/a", "value": "10"}]`, "", "the value is another one"},
		{"A.15 and true is none", `{"a": true}`, `[{"op": "test", "path": "@/a", "value": "true"}]`, "", "the value is another one"},
		{"A.16 a list is one element", `{"a": ["x"]}`, `[{"op": "add", "path": "@/a/-", "value": ["y", "z"]}]`, `{"a":["x",["y","z"]]}`, ""},
		{"a copy is a value of its own", `{"a": {"x": 1}}`, `[{"op": "copy", "from": "@/a", "path": "@/b"}, {"op": "replace", "path": "@/b/x", "value": 2}]`, `{"a":{"x":1},"b":{"x":2}}`, ""},
		{"a name may be empty", `{"": 1}`, `[{"op": "replace", "path": "@/", "value": 2}]`, `{"":2}`, ""},
		{"a name may be a number", `{"0": "x"}`, `[{"op": "replace", "path": "@/0", "value": "y"}]`, `{"0":"y"}`, ""},
		{"an index has no zero in front", `{"a": [1, 2]}`, `[{"op": "replace", "path": "@/a/01", "value": 3}]`, "", "there is no " + policy + "/a/01"},
		{"all operations or none", `{"a": 1}`, `[{"op": "replace", "path": "@/a", "value": 2}, {"op": "test", "path": "@/a", "value": 1}]`, "", "operation 2 (test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := apply(t, "cluster: {apiServer: {auditPolicy: "+c.object+"}}\n", strings.ReplaceAll(c.patch, `"@`, `"`+policy))

			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Fatalf("%v, want %s\n%s", err, c.wrong, out)
				}

				return
			}

			if err != nil {
				t.Fatal(err)
			}

			loaded, err := config.Load([]byte(out))
			if err != nil {
				t.Fatal(err)
			}

			if got, err := json.Marshal(loaded.Cluster().APIServer.AuditPolicy); err != nil || string(got) != c.want {
				t.Errorf("%s, %v, want %s", got, err, c.want)
			}
		})
	}
}
