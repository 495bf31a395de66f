// Package identity is the node's own name in the cluster: random, made once,
// kept until the machine is reset.
package identity

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
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
	copyFile = "node-identity.good"

	size     = 32
	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	// textLen is what 256 bits need in base 62.
	textLen = 43
)

type document struct {
	NodeID string `yaml:"nodeId"`
}

// Load reads the identity of this machine, and makes it on the first start. It has a copy with a checksum; when both are
// damaged a new one is made, which is loudly told: without its identity this is another node to the cluster, and to no node at
// all it would be of less use.
func Load(stateDir string, log *slog.Logger) (string, error) {
	file := atomicfile.Twin{Path: filepath.Join(stateDir, File), Copy: filepath.Join(stateDir, copyFile), Mode: 0o600}

	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}

	if err := file.Clean(); err != nil {
		return "", fmt.Errorf("clean node identity: %w", err)
	}

	data, mended, err := file.Read(func(data []byte) error {
		_, err := parse(data)

		return err
	})

	switch {
	case mended != nil:
		log.Error("node identity mended", "error", mended)
	case errors.Is(err, atomicfile.ErrDamaged):
		log.Error("node identity lost: the cluster sees a new node from now on; the member that this machine was goes when it expires", "error", err)

		if err := file.SetAside(); err != nil {
			return "", fmt.Errorf("node identity: %w", err)
		}

		return create(file, log)
	case err != nil:
		return "", fmt.Errorf("node identity: %w", err)
	case data == nil:
		return create(file, log)
	}

	return parse(data)
}

func parse(data []byte) (string, error) {
	var stored document
	if err := yaml.Unmarshal(data, &stored); err != nil {
		return "", fmt.Errorf("parse node identity: %w", err)
	}

	return stored.NodeID, check(stored.NodeID)
}

func create(file atomicfile.Twin, log *slog.Logger) (string, error) {
	random := make([]byte, size)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("make node identity: %w", err)
	}

	nodeID := Encode(random)

	data, err := yaml.Marshal(document{NodeID: nodeID})
	if err != nil {
		return "", fmt.Errorf("encode node identity: %w", err)
	}

	if err := file.Write(data); err != nil {
		return "", fmt.Errorf("write node identity: %w", err)
	}

	log.Info("node identity made", "id", nodeID)

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
