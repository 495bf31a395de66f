package acquire

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// InstallerMeta is the variable in talos.environment with META values.
const InstallerMeta = "INSTALLER_META_BASE64"

var metaKey = regexp.MustCompile(`(?:^|;)(0[xX][0-9a-fA-F]+|[0-9]+)=`)

// Meta reads KEY=VALUE, several of them with semicolons between, in base64, gzipped or not.
func Meta(text string) (map[uint8][]byte, error) {
	if text == "" {
		return nil, nil
	}

	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("decode base64: %w", err)
	}

	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		unpack, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("unpack gzip: %w", err)
		}

		if data, err = read(unpack); err != nil {
			return nil, fmt.Errorf("unpack gzip: %w", err)
		}
	}

	// Values may hold semicolons themselves, but hardly one before a number and an equals sign.
	places := metaKey.FindAllSubmatchIndex(data, -1)
	if len(places) == 0 || places[0][0] != 0 {
		return nil, fmt.Errorf("%.20q does not begin with KEY=, such as 0xa=", data)
	}

	values := map[uint8][]byte{}

	for i, place := range places {
		end := len(data)
		if i+1 < len(places) {
			end = places[i+1][0]
		}

		key, err := strconv.ParseUint(strings.ToLower(string(data[place[2]:place[3]])), 0, 8)
		if err != nil {
			return nil, fmt.Errorf("META key: %w", err)
		}

		values[uint8(key)] = data[place[1]:end]
	}

	return values, nil
}

// Seed is what a NoCloud seed's meta-data says.
type Seed struct{ Hostname, InstanceID string }

// ReadSeed reads meta-data; what it does not understand is left out.
func ReadSeed(metaData []byte) Seed {
	var data struct {
		Hostname      string `yaml:"hostname"`
		LocalHostname string `yaml:"local-hostname"`
		InstanceID    string `yaml:"instance-id"`
	}

	if yaml.Unmarshal(metaData, &data) != nil {
		return Seed{}
	}

	return Seed{Hostname: cmp.Or(data.LocalHostname, data.Hostname), InstanceID: data.InstanceID}
}
