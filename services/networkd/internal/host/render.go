package host

import (
	"fmt"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// maxResolvers is how many servers libc reads from resolv.conf.
const maxResolvers = 3

// ResolvConf renders /etc/resolv.conf.
func ResolvConf(resolvers []netip.Addr, search string) []byte {
	var b strings.Builder

	for _, server := range resolvers[:min(len(resolvers), maxResolvers)] {
		fmt.Fprintf(&b, "nameserver %s\n", server)
	}

	if search = line(search); search != "" {
		fmt.Fprintf(&b, "\nsearch %s\n", search)
	}

	return []byte(b.String())
}

// Hosts renders /etc/hosts: loopback names, the node's own name at its address (invalid: none yet), extra entries.
func Hosts(name spec.Hostname, address netip.Addr, extra []spec.Host) []byte {
	var b strings.Builder

	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)

	fmt.Fprintln(w, "127.0.0.1\tlocalhost")

	if address.IsValid() && name.Hostname != "" {
		names := name.Hostname
		if name.Domainname != "" {
			names = name.FQDN() + " " + names
		}

		if names = line(names); names != "" {
			fmt.Fprintf(w, "%s\t%s\n", address, names)
		}
	}

	fmt.Fprintln(w, "::1\tlocalhost ip6-localhost ip6-loopback")
	fmt.Fprintln(w, "ff02::1\tip6-allnodes")
	fmt.Fprintln(w, "ff02::2\tip6-allrouters")

	for _, h := range extra {
		if names := line(strings.Join(h.Aliases, " ")); names != "" && line(h.IP) != "" {
			fmt.Fprintf(w, "%s\t%s\n", h.IP, names)
		}
	}

	w.Flush()

	return []byte(b.String())
}

// line gives nothing for a text that would not stay one line of printable ASCII. Whoever gave the names has checked them: this
// is the last look before they are in a system file.
func line(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '#' }) {
		return ""
	}

	return text
}
