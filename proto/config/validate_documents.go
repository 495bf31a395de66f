package config

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
	"github.com/dactyl-os/dactyl/proto/config/selector"
)

func (v *validator) document(document Document) {
	switch d := document.(type) {
	case *VolumeConfig:
		v.volume(d)
	case *ExtensionServiceConfig:
		v.extension(d)
	case *NetworkDefaultActionConfig:
		require(v, at("ingress"), d.Ingress, "accept or block")
	case *NetworkRuleConfig:
		v.rule(d)
	case *KubeSpanEndpointsConfig:
		if d.DocumentKind == oldEndpoints {
			v.warn(at("kind"), oldEndpoints+" is an old spelling", "use KubeSpanEndpointsConfig")
		}

		each(v, at("extraAnnouncedEndpoints"), d.ExtraAnnouncedEndpoints, addrPort)
	case *EventSinkConfig:
		hostPort(v, at("endpoint"), d.Endpoint)
	case *KmsgLogConfig:
		require(v, at("name"), d.Name, "")
		location("tcp", "udp")(v, at("url"), d.URL)
	case *WatchdogTimerConfig:
		v.watchdog(d)
	case *TrustedRootsConfig:
		require(v, at("name"), d.Name, "")

		// The others are good still.
		if !x509.NewCertPool().AppendCertsFromPEM([]byte(d.Certificates)) {
			v.note(at("certificates"), "no PEM certificate in it", "begin with -----BEGIN CERTIFICATE-----")
		}
	case *SideroLinkConfig:
		v.sideroLink(at("apiUrl"), d.APIURL)
	}

	if h, ok := document.(interface{ version() string }); ok {
		require(v, at("apiVersion"), h.version(), "apiVersion: v1alpha1")
	}
}

func (h *Header) version() string { return h.APIVersion }

func (v *validator) sideroLink(path *tree.Path, text string) {
	location("https", "grpc")(v, path, text)

	if u, err := url.Parse(text); err == nil && u.Host != "" && strings.Trim(u.Path, "/") != "" {
		v.fail(path, fmt.Sprintf("the path %q", u.Path), "nothing but the host, its port and ?jointoken=…")
	}
}

func (v *validator) volume(d *VolumeConfig) {
	if require(v, at("name"), d.Name, "EPHEMERAL") && d.Name != "EPHEMERAL" {
		v.fail(at("name"), fmt.Sprintf("%q is not a volume that can be configured", d.Name), "it is EPHEMERAL")
	}

	p := d.Provisioning
	if p == nil {
		return
	}

	if p.DiskSelector != nil {
		v.diskSelector(at("provisioning").Key("diskSelector").Key("match"), p.DiskSelector.Match)
	}

	if p.MaxSize != 0 && p.MinSize > p.MaxSize {
		v.fail(at("provisioning").Key("minSize"), "larger than maxSize", "")
	}
}

func (v *validator) diskSelector(path *tree.Path, match string) {
	const example = "an expression such as disk.transport == 'nvme'"

	if strings.TrimSpace(match) == "" {
		v.fail(path, "missing", example)
	} else if _, err := selector.Parse(match); err != nil {
		v.fail(path, err.Error(), example)
	}
}

func (v *validator) extension(d *ExtensionServiceConfig) {
	require(v, at("name"), d.Name, "the extension service's name, without ext-")

	if len(d.ConfigFiles) == 0 && len(d.Environment) == 0 {
		v.fail(nil, "neither configFiles nor environment", "")
	}

	unique(v, at("configFiles"), d.ConfigFiles, "mountPath", "mount path", func(f ConfigFile) string { return f.MountPath })

	for i, file := range d.ConfigFiles {
		absolute(v, at("configFiles").Index(i).Key("mountPath"), file.MountPath)
		require(v, at("configFiles").Index(i).Key("content"), file.Content, "")
	}

	for i, variable := range d.Environment {
		if name, _, found := strings.Cut(variable, "="); !found || !envName.MatchString(name) {
			v.fail(at("environment").Index(i), fmt.Sprintf("%q is not NAME=value", variable), "")
		}
	}
}

func (v *validator) rule(d *NetworkRuleConfig) {
	require(v, at("name"), d.Name, "")

	if d.PortSelector == nil {
		v.fail(at("portSelector"), "missing", "ports and protocol that the rule is about")
	} else {
		require(v, at("portSelector").Key("protocol"), d.PortSelector.Protocol, "tcp, udp, icmp or icmpv6")
		v.ports(at("portSelector").Key("ports"), d.PortSelector)
	}

	if len(d.Ingress) == 0 {
		v.fail(at("ingress"), "missing", "the subnets that are let in; 0.0.0.0/0 is all of IPv4")
	}

	for i, rule := range d.Ingress {
		prefix(v, at("ingress").Index(i).Key("subnet"), rule.Subnet)
		optional(v, at("ingress").Index(i).Key("except"), rule.Except, prefix)
	}
}

func (v *validator) ports(path *tree.Path, selector *RulePortSelector) {
	ports := slices.Clone(selector.Ports)
	slices.SortFunc(ports, func(a, b PortRange) int { return int(a.Low) - int(b.Low) })

	for i, r := range ports {
		if r.Low == 0 {
			v.fail(path, "port 0", "ports are 1 to 65535")
		}

		if i > 0 && r.Low <= ports[i-1].High {
			v.fail(path, fmt.Sprintf("port %d is named twice", r.Low), "")
		}
	}

	if len(ports) == 0 && (selector.Protocol == "tcp" || selector.Protocol == "udp") {
		v.fail(path, "missing", "such as 80 or 2379-2380")
	}
}

func (v *validator) watchdog(d *WatchdogTimerConfig) {
	if require(v, at("device"), d.Device, "such as /dev/watchdog0") {
		absolute(v, at("device"), d.Device)
	}

	if d.Timeout != 0 && d.Timeout.Duration() < 10*time.Second {
		v.fail(at("timeout"), "shorter than 10s", "a busy machine would be reset")
	}
}
