package diff_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/diff"
)

func load(t *testing.T) string {
	t.Helper()

	data, err := os.ReadFile("../testdata/worker.yaml")
	if err != nil {
		t.Fatal(err)
	}

	return string(data)
}

func parse(t *testing.T, text string) config.Tree {
	t.Helper()

	tree, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}

	return tree
}

func TestUnified(t *testing.T) {
	before := load(t)
	line := before[strings.Index(before, "    token: "):]
	line, _, _ = strings.Cut(line, "\n")
	after := strings.Replace(before, line, "    token: abcdef.hunter2hunter2hu", 1)
	after = strings.Replace(after, "    network: {}", "    network:\n        hostname: new", 1)

	text, err := diff.Unified([]byte(before), []byte(after))
	if err != nil {
		t.Fatal(err)
	}

	for _, want := range []string{"-    token: '******'\n", "+    token: '****** (new value)'\n", "-    network: {}\n", "+    network:\n+        hostname: new\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}

	if strings.Contains(text, "hunter2") {
		t.Errorf("a secret is shown:\n%s", text)
	}

	if same, err := diff.Unified([]byte(before), []byte("# a comment\n"+before)); err != nil || strings.Contains(same, "token") {
		t.Errorf("error %v, diff %q", err, same)
	}

	if fresh, err := diff.Unified(nil, []byte(before)); err != nil || !strings.HasPrefix(fresh, "--- old\n+++ new\n") {
		t.Errorf("error %v, diff %q", err, fresh)
	}
}

func TestChanges(t *testing.T) {
	before := "machine: {network: {hostname: a, nameservers: [1.1.1.1]}, sysctls: {x.y: '1'}, time: {disabled: true}}\n---\nkind: WatchdogTimerConfig\napiVersion: v1alpha1\n"
	after := "machine:\n  sysctls: {x.y: '2'}\n  # the same\n  network: {nameservers: [1.1.1.1, 8.8.8.8], hostname: a}\n  install: {}\n---\nkind: NetworkRuleConfig\napiVersion: v1alpha1\nname: a\n"

	changes := diff.Changes(parse(t, before), parse(t, after))

	want := `[NetworkRuleConfig a: apiVersion NetworkRuleConfig a: kind NetworkRuleConfig a: name WatchdogTimerConfig: apiVersion WatchdogTimerConfig: kind ` +
		`machine.install machine.network.nameservers machine.sysctls["x.y"] machine.time.disabled]`
	if got := fmt.Sprint(changes); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	if same := diff.Changes(parse(t, before), parse(t, "# hi\n"+before)); same != nil {
		t.Errorf("changes %v", same)
	}
}
