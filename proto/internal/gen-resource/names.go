package main

import (
	"regexp"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"

	"github.com/dactyl-os/dactyl/proto/options"
)

// goName turns snake_case into a Go name with the usual initialisms.
func goName(snake string) string {
	var out strings.Builder
	for _, word := range strings.Split(snake, "_") {
		switch word {
		case "ips":
			out.WriteString("IPs")
		case "id", "ip", "url", "dns", "mtu", "api", "arp", "cpu", "uuid", "pci", "vlan", "io", "cidr":
			out.WriteString(strings.ToUpper(word))
		default:
			out.WriteString(title(word))
		}
	}

	return out.String()
}

func title(word string) string {
	if word == "" {
		return ""
	}

	return strings.ToUpper(word[:1]) + word[1:]
}

var enumPrefix = regexp.MustCompile(`^(Nethelpers|Network|Runtime|Block|Kubespan)`)

// enumName drops the name of the package that the enumeration came from.
func enumName(e *protogen.Enum) string { return enumPrefix.ReplaceAllString(string(e.Desc.Name()), "") }

func enumSigned(e *protogen.Enum) bool {
	for _, v := range e.Values {
		if v.Desc.Number() < 0 {
			return true
		}
	}

	return false
}

type enumValue struct {
	goName string
	number int32
	text   string
}

// enumValues names the values that have a word: the type's name and what
// remains of the value's name without the prefix that all of them share.
func enumValues(e *protogen.Enum) []enumValue {
	var names []string
	var out []enumValue
	for _, v := range e.Values {
		text, _ := proto.GetExtension(v.Desc.Options(), options.E_Text).(string)
		if text == "" {
			continue
		}
		names = append(names, string(v.Desc.Name()))
		out = append(out, enumValue{number: int32(v.Desc.Number()), text: text})
	}
	prefix := sharedPrefix(names)
	typeName := enumName(e)
	for i := range out {
		rest := camelUpper(strings.TrimPrefix(names[i], prefix))
		for cut := 1; cut < len(typeName); cut++ { // VLANProtocol + Protocol8021Q
			if strings.HasPrefix(rest, typeName[cut:]) && len(typeName)-cut > 3 {
				rest = rest[len(typeName)-cut:]

				break
			}
		}
		out[i].goName = typeName + rest
	}

	return out
}

// sharedPrefix is the longest prefix that ends with a whole word of one of the names.
func sharedPrefix(names []string) string {
	prefix := names[0]
	for _, n := range names[1:] {
		for !strings.HasPrefix(n, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	if whole, ok := strings.CutSuffix(prefix, "_"); ok {
		if last := whole[strings.LastIndex(whole, "_")+1:]; !strings.ContainsAny(last, "0123456789") {
			return prefix
		}

		return whole[:strings.LastIndex(whole, "_")+1] // PROTOCOL8021_ is half a name
	}
	for _, n := range names {
		if strings.HasPrefix(n, prefix+"_") {
			return prefix
		}
	}

	return prefix[:strings.LastIndex(prefix, "_")+1]
}

var letters = regexp.MustCompile(`^[A-Z]+`)

// camelUpper turns SHUTTING_DOWN into ShuttingDown and keeps abbreviations.
func camelUpper(upper string) string {
	upper = strings.ReplaceAll(upper, "ICM_PV6", "ICMPv6")
	var out strings.Builder
	for _, word := range strings.Split(upper, "_") {
		switch letters.FindString(word) {
		case "ICMP", "TCP", "UDP", "DHCP", "AUI", "MII", "BNC", "ID", "KMS", "TPM", "AD", "TLB", "ALB",
			"XOR", "VIP", "DAD", "MC", "NAT", "RA", "BGP", "OSPF", "RIP", "XFS", "VFAT", "ISO", "LUKS", "Q":
			out.WriteString(word)
		default:
			out.WriteString(title(strings.ToLower(word)))
		}
	}

	return out.String()
}
