package config

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
	"github.com/dactyl-os/dactyl/proto/config/urls"
)

// ParseAddress reads an interface's address: with a prefix length, or alone for a host's.
func ParseAddress(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}

	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}

	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func address(v *validator, path *tree.Path, text string) {
	if _, err := ParseAddress(text); err != nil {
		v.fail(path, fmt.Sprintf("%q is not an address with a prefix length", text), "write it like 10.5.0.2/24 or fd00::2/64")
	}
}

func prefix(v *validator, path *tree.Path, text string) {
	if _, err := netip.ParsePrefix(text); err != nil {
		v.fail(path, fmt.Sprintf("%q is not a network in CIDR notation", text), "write it like 10.244.0.0/16")
	}
}

// filter is a prefix, or one excluded by a leading exclamation mark.
func filter(v *validator, path *tree.Path, text string) {
	prefix(v, path, strings.TrimPrefix(text, "!"))
}

func ip(v *validator, path *tree.Path, text string) {
	if _, err := netip.ParseAddr(text); err != nil {
		v.fail(path, fmt.Sprintf("%q is not an IP address", text), "write it like 10.5.0.1 or fd00::1")
	}
}

func addrPort(v *validator, path *tree.Path, text string) {
	if _, err := netip.ParseAddrPort(text); err != nil {
		v.fail(path, fmt.Sprintf("%q is not an address with a port", text), "write it like 10.5.0.1:51820")
	}
}

func hostPort(v *validator, path *tree.Path, text string) {
	host, port, err := net.SplitHostPort(text)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" {
		v.fail(path, fmt.Sprintf("%q is not a host with a port", text), "write it like sink.example.org:4000")
	}
}

var (
	label     = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)
	qualified = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	link      = regexp.MustCompile(`^[^\s/:]{1,15}$`)
	bootstrap = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)
	envName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
)

// IsDNSName tells whether a text is labels of letters, digits and hyphens, 63 at most each, joined by dots.
func IsDNSName(text string) bool {
	text = strings.TrimSuffix(text, ".")

	return len(text) <= 253 && !slices.ContainsFunc(strings.Split(text, "."), func(l string) bool { return !label.MatchString(l) })
}

func dnsName(v *validator, path *tree.Path, text string) {
	if !IsDNSName(text) {
		v.fail(path, fmt.Sprintf("%q is not a DNS name", text), "labels of letters, digits and hyphens, 63 at most each, joined by dots")
	}
}

// host is a DNS name or an address.
func host(v *validator, path *tree.Path, text string) {
	if _, err := netip.ParseAddr(text); err != nil && !IsDNSName(text) {
		v.fail(path, fmt.Sprintf("%q is neither a DNS name nor an IP address", text), "")
	}
}

// subjectName is what may stand in a certificate; wildcards are allowed.
func subjectName(v *validator, path *tree.Path, text string) {
	host(v, path, strings.TrimPrefix(text, "*."))
}

func linkName(v *validator, path *tree.Path, text string) {
	if !link.MatchString(text) || text == "." || text == ".." {
		v.fail(path, fmt.Sprintf("%q is not a link name", text), "15 characters at most, no space, slash or colon")
	}
}

func absolute(v *validator, path *tree.Path, text string) {
	if !strings.HasPrefix(text, "/") {
		v.fail(path, fmt.Sprintf("%q is not an absolute path", text), "")
	}
}

// location checks a URL with one of the schemes and a host.
func location(schemes ...string) func(*validator, *tree.Path, string) {
	return func(v *validator, path *tree.Path, text string) {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
			hint := "it begins with " + strings.Join(schemes, ":// or ") + "://"
			v.fail(path, fmt.Sprintf("%q is not a URL that can be used here", urls.Public(text)), hint)

			return
		}

		urlPort(v, path, u)
	}
}

func urlPort(v *validator, path *tree.Path, u *url.URL) {
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			v.fail(path, fmt.Sprintf("%q is not a port", p), "ports are 1 to 65535")
		}
	}
}

// secretBytes checks base64 of a given length; 0 is any.
func secretBytes(v *validator, path *tree.Path, text string, lengths ...int) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		raw, err = base64.URLEncoding.DecodeString(text)
	}

	if err != nil || len(lengths) > 0 && !slices.Contains(lengths, len(raw)) {
		v.fail(path, fmt.Sprintf("not the base64 of %v bytes", lengths), "make a new one with: dactylctl gen secrets")
	}
}

const fromSecrets = "take it from the secrets the cluster was generated with (gen secrets)"

// machineAuthority checks the CA of the machine's API, without which nobody reaches it.
func (v *validator) machineAuthority(path *tree.Path, ca *CertificateAndKey) {
	v.authority(v.essential, path, ca, v.config.IsControlPlane())
}

// authority checks a CA; on the control plane it must be able to sign.
func (v *validator) authority(severity severity, path *tree.Path, ca *CertificateAndKey, needKey bool) {
	if ca == nil {
		ca = &CertificateAndKey{}
	}

	if len(ca.Crt) == 0 {
		severity(path.Key("crt"), "missing certificate authority", fromSecrets)
	} else {
		found(severity, path.Key("crt"), certificateProblem(ca.Crt))
	}

	switch {
	case !needKey:
	case len(ca.Key) == 0:
		severity(path.Key("key"), "missing key of the certificate authority", "control plane machines sign certificates; "+fromSecrets)
	default:
		found(severity, path.Key("key"), keyProblem(ca.Key))
	}
}

// severity is one of the validator's.
type severity func(path *tree.Path, message, hint string)

// defect is what a check found, nil for nothing.
type defect struct{ message, hint string }

func found(severity severity, path *tree.Path, d *defect) {
	if d != nil {
		severity(path, d.message, d.hint)
	}
}

func certificateProblem(data []byte) *defect {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return &defect{"not a PEM certificate", "it is base64 of a file that begins with -----BEGIN CERTIFICATE-----"}
	}

	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return &defect{"not a certificate: " + err.Error(), ""}
	}

	return nil
}

func keyProblem(data []byte) *defect {
	if block, _ := pem.Decode(data); block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return &defect{"not a PEM private key", "it is base64 of a file that begins with -----BEGIN … PRIVATE KEY-----"}
	}

	return nil
}

// labelKey is a Kubernetes label's or annotation's key: an optional DNS prefix and a name.
func labelKey(v *validator, path *tree.Path, text string) {
	domain, name, found := strings.Cut(text, "/")
	if !found {
		domain, name = "", text
	}

	if found && !IsDNSName(domain) || !qualified.MatchString(name) {
		v.fail(path, fmt.Sprintf("%q is not a Kubernetes key", text), "write it like name or example.org/name")
	}
}

func labelValue(v *validator, path *tree.Path, text string) {
	if text != "" && !qualified.MatchString(text) {
		v.fail(path, fmt.Sprintf("%q is not a label value", text), "63 letters, digits, dots, hyphens and underscores at most")
	}
}
