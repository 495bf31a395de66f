// Package identity is the node's own name in the cluster: random, made once,
// kept until the machine is reset.
package identity

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// File is the name of the file in the state directory.
const File = "node-identity.yaml"

const (
	size     = 32
	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	// textLen is what 256 bits need in base 62.
	textLen = 43
)

type document struct {
	NodeID string `yaml:"nodeId"`
}

// Load reads the identity of this machine, and makes it on the first start.
// A damaged file is an error: a new identity would make this another node.
func Load(stateDir string) (string, error) {
	path := filepath.Join(stateDir, File)

	if err := atomicfile.Clean(path); err != nil {
		return "", fmt.Errorf("clean node identity: %w", err)
	}

	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return create(path)
	}

	if err != nil {
		return "", fmt.Errorf("read node identity: %w", err)
	}

	var stored document
	if err := yaml.Unmarshal(data, &stored); err != nil {
		return "", fmt.Errorf("parse node identity %s: %w", path, err)
	}

	if err := check(stored.NodeID); err != nil {
		return "", fmt.Errorf("node identity %s: %w (restore the file, or delete it to make this a new node)", path, err)
	}

	return stored.NodeID, nil
}

func create(path string) (string, error) {
	random := make([]byte, size)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("make node identity: %w", err)
	}

	nodeID := Encode(random)

	data, err := yaml.Marshal(document{NodeID: nodeID})
	if err != nil {
		return "", fmt.Errorf("encode node identity: %w", err)
	}

	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}

	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return "", fmt.Errorf("write node identity: %w", err)
	}

	return nodeID, nil
}

// Encode writes up to 32 bytes as 43 letters and digits.
func Encode(data []byte) string {
	text := make([]byte, textLen)
	number, base, digit := new(big.Int).SetBytes(data), big.NewInt(int64(len(alphabet))), new(big.Int)

	for i := textLen - 1; i >= 0; i-- {
		number.DivMod(number, base, digit)
		text[i] = alphabet[digit.Int64()]
	}

	return string(text)
}

// check also accepts identities that v1.8 wrote, whose length varies a little.
func check(nodeID string) error {
	switch {
	case nodeID == "":
		return errors.New("no nodeId in it")
	case len(nodeID) > 64:
		return fmt.Errorf("nodeId has %d characters, 64 at most", len(nodeID))
	case strings.Trim(nodeID, alphabet) != "":
		return errors.New("nodeId has characters other than letters and digits")
	}

	return nil
}
