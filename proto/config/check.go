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
		hint := "it begins with " + strings.Join(schemes, ":// or ") + "://"

		u, err := url.Parse(text)
		if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
			v.fail(path, fmt.Sprintf("%q is not a URL that can be used here", urls.Public(text)), hint)

			return
		}

		if p := u.Port(); p != "" {
			if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
				v.fail(path, fmt.Sprintf("%q is not a port", p), "ports are 1 to 65535")
			}
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

// authority checks a CA; on the control plane it must be able to sign.
func (v *validator) authority(path *tree.Path, ca *CertificateAndKey, needKey bool) {
	const hint = "take it from the secrets the cluster was generated with (gen secrets)"

	if ca == nil || len(ca.Crt) == 0 {
		v.fail(path.Key("crt"), "missing certificate authority", hint)
	} else {
		certificate(v, path.Key("crt"), ca.Crt)
	}

	switch {
	case !needKey:
	case ca == nil || len(ca.Key) == 0:
		v.fail(path.Key("key"), "missing key of the certificate authority", "control plane machines sign certificates; "+hint)
	default:
		privateKey(v, path.Key("key"), ca.Key)
	}
}

func certificate(v *validator, path *tree.Path, data []byte) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		v.fail(path, "not a PEM certificate", "it is base64 of a file that begins with -----BEGIN CERTIFICATE-----")

		return
	}

	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		v.fail(path, "not a certificate: "+err.Error(), "")
	}
}

func privateKey(v *validator, path *tree.Path, data []byte) {
	if block, _ := pem.Decode(data); block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		v.fail(path, "not a PEM private key", "it is base64 of a file that begins with -----BEGIN … PRIVATE KEY-----")
	}
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
