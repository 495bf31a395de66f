package main

import (
	"archive/zip"
	"io"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestSupport: a bundle has a folder of each node that answers, and no sensitive resource.
func TestSupport(t *testing.T) {
	start(t, &fake{logs: [][]string{{"one\n"}}})
	leave := enter(t)
	defer leave()
	text := session(t, "-n", "10.0.0.1,10.0.0.19", "support", "-O", "fault.zip") + "\n" + session(t, "support", "-O", "fault.zip")
	bundle, err := zip.OpenReader("fault.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer bundle.Close()
	for _, f := range bundle.File {
		r := must(f.Open())(t)
		content := string(must(io.ReadAll(r))(t))
		if strings.Contains(content, "hostname: first") || strings.Contains(f.Name, "machineconfig") {
			t.Errorf("%s has the machine configuration:\n%s", f.Name, content)
		}
		text += f.Name + "\n"
		if strings.HasSuffix(f.Name, "errors.txt") || strings.Contains(f.Name, "logs/") {
			text += content
		}
	}
	leave()
	kittest.Golden(t, "support.txt", []byte(stable(text)))
}

func TestSecretsOfResourcesAreLeftOut(t *testing.T) {
	for line, want := range map[string]string{
		"        privateKey: kBs1=": "        privateKey: left out", "    - presharedKey: x": "    - presharedKey: left out", "serviceEncryptionKey: aGk=": "serviceEncryptionKey: left out",
		"    publicKey: kBs1=": "    publicKey: kBs1=", "    token: \"\"": "    token: left out", "    serverAddress: x": "    serverAddress: x",
	} {
		if got := string(secret.ReplaceAll([]byte(line), []byte("${1}left out"))); got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}
