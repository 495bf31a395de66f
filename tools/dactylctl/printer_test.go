package main

import (
	"testing"

	"github.com/dactyl-os/dactyl/proto/resource/runtime"
)

// A resource's ID is text, also one that YAML would take for a number.
func TestDecodedID(t *testing.T) {
	whole, err := decoded(runtime.NewMetaKey(runtime.NamespaceName, "0x0a"))
	if err != nil {
		t.Fatal(err)
	}

	if id := whole["metadata"].(map[string]any)["id"]; id != "0x0a" {
		t.Errorf("ID %v", id)
	}
}
