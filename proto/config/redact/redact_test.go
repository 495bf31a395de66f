package redact_test

import (
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/aymanbagabas/go-udiff"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/redact"
)

func TestNoSecretIsLeft(t *testing.T) {
	data, err := os.ReadFile("../testdata/controlplane.yaml")
	if err != nil {
		t.Fatal(err)
	}

	text := string(data) + `---
apiVersion: v1alpha1
kind: SideroLinkConfig
apiUrl: https://link.example.org/?jointoken=hunter2&x=y
`
	text = strings.Replace(text, "    network: {}\n", `    network:
        interfaces:
            - interface: wg0
              wireguard: {privateKey: hunter2}
              vip: {ip: 10.0.0.1, hcloud: {apiToken: hunter2}}
    systemDiskEncryption: {state: {provider: luks2, keys: [{slot: 0, static: {passphrase: hunter2}}]}}
`, 1)
	text = strings.Replace(text, "    registries: {}\n", `    registries: {config: {a.b: {auth: {username: me, password: hunter2, auth: hunter2, identityToken: hunter2}, tls: {clientIdentity: {crt: aGk=, key: aHVudGVyMg==}}}}}
`, 1)

	secrets, err := redact.Secrets([]byte(text))
	if err != nil {
		t.Fatal(err)
	}

	// Token, 5 CA or account keys, cluster secret, token and secretbox key, and the nine above.
	if len(secrets) != 9+8 {
		t.Errorf("%d secrets: %q", len(secrets), secrets)
	}

	out, err := redact.Bytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}

	for _, secret := range append(secrets, "hunter2", "aHVudGVyMg==") {
		if strings.Contains(string(out), secret) {
			t.Errorf("%q is still there", secret)
		}
	}

	c, err := config.Load(out)
	if err != nil {
		t.Fatalf("the redacted configuration does not load: %v", err)
	}

	if c.Machine().Token != redact.Mask || string(c.Machine().CA.Key) != redact.Mask || len(c.Machine().CA.Crt) < 100 {
		t.Errorf("token %q, key %q", c.Machine().Token, c.Machine().CA.Key)
	}

	if link := config.Of[*config.SideroLinkConfig](c)[0]; link.APIURL != "https://link.example.org/?jointoken=******&x=y" {
		t.Errorf("apiUrl %q", link.APIURL)
	}
}

func TestTheRestStaysAsWritten(t *testing.T) {
	data, err := os.ReadFile("../testdata/controlplane.yaml")
	if err != nil {
		t.Fatal(err)
	}

	for name, text := range map[string]string{
		"generated":  string(data),
		"quoted":     regexp.MustCompile(`(?m)^(    token:) (.*)$`).ReplaceAllString(string(data), `$1   "$2"   # übrig`),
		"single":     regexp.MustCompile(`(?m)^(    token:) (.*)$`).ReplaceAllString(string(data), `$1 '$2'`),
		"flow":       regexp.MustCompile(`(?m)^(    token:) (.*)$`).ReplaceAllString(string(data), `    "token": $2`),
		"after text": strings.Replace(string(data), "    token:", "    \"token\":", 1),
	} {
		secrets, err := redact.Secrets([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}

		want := text
		for _, secret := range secrets {
			masked := redact.Mask
			if _, err := base64.StdEncoding.DecodeString(secret); err == nil && len(secret) > 64 {
				masked = base64.StdEncoding.EncodeToString([]byte(redact.Mask))
			}

			for _, quoted := range []string{`"` + secret + `"`, "'" + secret + "'", secret} {
				want = strings.ReplaceAll(want, quoted, "'"+masked+"'")
			}
		}

		got, err := redact.Bytes([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}

		if string(got) != want {
			t.Errorf("%s: %s", name, udiff.Unified("want", "got", want, string(got)))
		}
	}
}

// What cannot be changed in place is written anew: the result hides and says the same.
func TestAliasesAndFoldedText(t *testing.T) {
	data, err := os.ReadFile("../testdata/worker.yaml")
	if err != nil {
		t.Fatal(err)
	}

	token := regexp.MustCompile(`(?m)^    token: (.*)$`)

	for _, with := range []string{"    token: &it $1", "    token: >-\n        $1", "    token: \"\\u0061$1\"", "    token: !!str $1"} {
		text := token.ReplaceAllString(string(data), with)

		out, err := redact.Bytes([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", with, err)
		}

		c, err := config.Load(out)
		if err != nil {
			t.Fatalf("%s: %v", with, err)
		}

		if secret := token.FindStringSubmatch(string(data))[1]; c.Machine().Token != redact.Mask || strings.Contains(string(out), secret) {
			t.Errorf("%s: token %q\n%s", with, c.Machine().Token, out)
		}
	}
}
