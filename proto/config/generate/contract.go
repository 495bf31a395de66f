package generate

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// latest is the minor version of the contract that is written for unless another is asked for.
const latest = 8

// Contract is the version v1.0 to v1.8 whose machines shall understand what is written; the zero value is v1.8.
type Contract struct{ older int }

var contractText = regexp.MustCompile(`^v?1\.([0-9]+)(\.[0-9]+)?([-+].*)?$`)

// ParseContract reads v1.3, 1.3 or v1.3.7; the empty text is v1.8.
func ParseContract(text string) (Contract, error) {
	if text == "" {
		return Contract{}, nil
	}

	found := contractText.FindStringSubmatch(text)
	if found == nil {
		return Contract{}, fmt.Errorf("%q is not a version of the contract: write it like v1.%d", text, latest)
	}

	minor, err := strconv.Atoi(found[1])
	if err != nil || minor > latest {
		return Contract{}, fmt.Errorf("cannot write for %q: the contract is v1.0 to v1.%d", text, latest)
	}

	return Contract{latest - minor}, nil
}

// since tells whether the contract is v1.MINOR or later.
func (c Contract) since(minor int) bool { return latest-c.older >= minor }

// on is true from v1.MINOR on and not written before.
func (c Contract) on(minor int) *bool {
	if !c.since(minor) {
		return nil
	}

	return new(true)
}

// NewBundle makes new secrets; certificates count from now. Before v1.3 Kubernetes' secrets were encrypted with AES-CBC.
func (c Contract) NewBundle(now time.Time) (*Bundle, error) {
	b := &Bundle{}
	if err := b.complete(now, true); err != nil {
		return nil, fmt.Errorf("make secrets: %w", err)
	}

	if !c.since(3) {
		b.Secrets.AESCBCEncryptionSecret, b.Secrets.SecretboxEncryptionSecret = b.Secrets.SecretboxEncryptionSecret, ""
	}

	return b, nil
}
