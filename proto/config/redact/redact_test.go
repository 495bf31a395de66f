package redact_test

import (
	"os"
	"strings"
	"testing"

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
