package config

import (
	"encoding/base64"
	"fmt"
	"net"
	"strconv"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

func (v *validator) network(path *tree.Path, n *NetworkConfig) {
	optional(v, path.Key("hostname"), n.Hostname, dnsName)
	each(v, path.Key("nameservers"), n.Nameservers, ip)

	for i, entry := range n.ExtraHostEntries {
		at := path.Key("extraHostEntries").Index(i)
		ip(v, at.Key("ip"), entry.IP)
		each(v, at.Key("aliases"), entry.Aliases, dnsName)
	}

	devices := path.Key("interfaces")
	unique(v, devices, n.Interfaces, "interface", "interface", func(d *Device) string { return d.Interface })

	for i, device := range n.Interfaces {
		v.device(devices.Index(i), device)
	}

	if span := n.KubeSpan; span != nil {
		within(v, path.Key("kubespan").Key("mtu"), span.MTU, 1280, 65535)

		discovery := v.config.Cluster().Discovery
		if Bool(span.Enabled, false) && (discovery == nil || !Bool(discovery.Enabled, true)) {
			v.fail(path.Key("kubespan").Key("enabled"), "KubeSpan needs cluster discovery", "set cluster.discovery.enabled: true")
		}

		if span.Filters != nil {
			each(v, path.Key("kubespan").Key("filters").Key("endpoints"), span.Filters.Endpoints, filter)
		}
	}
}

func (v *validator) device(path *tree.Path, d *Device) {
	switch {
	case d.Interface == "" && d.DeviceSelector == nil:
		v.fail(path.Key("interface"), "missing", "name a link, or select one with deviceSelector")
	case d.Interface != "" && d.DeviceSelector != nil:
		v.fail(path.Key("deviceSelector"), "both interface and deviceSelector", "keep one of them")
	case d.Interface != "":
		linkName(v, path.Key("interface"), d.Interface)
	case *d.DeviceSelector == (NetworkDeviceSelector{}):
		v.fail(path.Key("deviceSelector"), "empty", "it would select every link")
	}

	if d.DeviceSelector != nil {
		v.selector(path.Key("deviceSelector"), d.DeviceSelector)
	}

	each(v, path.Key("addresses"), d.Addresses, address)
	each(v, path.Key("addresses"), d.Addresses, own)
	unique(v, path.Key("addresses"), d.Addresses, "", "address", func(s string) string { return s })
	v.routes(path.Key("routes"), d.Routes)
	v.mtu(path, d.MTU, d.Addresses)
	v.vip(path.Key("vip"), d.VIP)
	v.oneMaster(path, d)
	v.bond(path.Key("bond"), d.Bond)
	v.wireguard(path.Key("wireguard"), d.Wireguard)

	vlans := path.Key("vlans")
	unique(v, vlans, d.Vlans, "vlanId", "VLAN", func(vlan *Vlan) string { return strconv.Itoa(int(vlan.VlanID)) })

	for i, vlan := range d.Vlans {
		v.vlan(vlans.Index(i), vlan)
	}
}

func (v *validator) oneMaster(path *tree.Path, d *Device) {
	var kinds []string

	for _, kind := range []struct {
		name string
		set  bool
	}{{"bond", d.Bond != nil}, {"bridge", d.Bridge != nil}, {"wireguard", d.Wireguard != nil}, {"dummy", Bool(d.Dummy, false)}} {
		if kind.set {
			kinds = append(kinds, kind.name)
		}
	}

	if len(kinds) > 1 {
		v.fail(path.Key(kinds[1]), fmt.Sprintf("a link cannot be %s and %s", kinds[0], kinds[1]), "keep one of them")
	}

	if d.Bridge != nil {
		each(v, path.Key("bridge").Key("interfaces"), d.Bridge.Interfaces, linkName)
	}
}

func (v *validator) vlan(path *tree.Path, vlan *Vlan) {
	if require(v, path.Key("vlanId"), vlan.VlanID, "1 to 4094") {
		within(v, path.Key("vlanId"), vlan.VlanID, 1, 4094)
	}

	each(v, path.Key("addresses"), vlan.Addresses, address)
	each(v, path.Key("addresses"), vlan.Addresses, own)
	v.routes(path.Key("routes"), vlan.Routes)
	v.mtu(path, int(vlan.MTU), vlan.Addresses)
	v.vip(path.Key("vip"), vlan.VIP)
}

func (v *validator) vip(path *tree.Path, vip *DeviceVIPConfig) {
	if vip == nil {
		return
	}

	if !v.config.IsControlPlane() {
		v.fail(path, "only control plane machines share an address", "remove it from workers")
	}

	if require(v, path.Key("ip"), vip.IP, "") {
		ip(v, path.Key("ip"), vip.IP)
		own(v, path.Key("ip"), vip.IP)
	}
}

func (v *validator) bond(path *tree.Path, b *Bond) {
	if b == nil {
		return
	}

	if len(b.Interfaces) == 0 && len(b.DeviceSelectors) == 0 {
		v.fail(path.Key("interfaces"), "missing", "name the links of the bond, or select them with deviceSelectors")
	}

	if len(b.Interfaces) > 0 && len(b.DeviceSelectors) > 0 {
		v.fail(path.Key("deviceSelectors"), "both interfaces and deviceSelectors", "keep one of them")
	}

	for i, s := range b.DeviceSelectors {
		v.selector(path.Key("deviceSelectors").Index(i), s)
	}

	each(v, path.Key("interfaces"), b.Interfaces, linkName)
	unique(v, path.Key("interfaces"), b.Interfaces, "", "link", func(s string) string { return s })
	each(v, path.Key("arpIPTarget"), b.ARPIPTarget, ip)

	if b.MIIMon > 0 && b.ARPInterval > 0 {
		v.fail(path.Key("arpInterval"), "miimon and arpInterval together", "links are watched one way or the other")
	}

	if b.MIIMon == 0 && (b.UpDelay > 0 || b.DownDelay > 0) {
		v.fail(path.Key("miimon"), "missing", "updelay and downdelay need it")
	}

	if b.LACPRate != "" && b.Mode != "802.3ad" {
		v.fail(path.Key("lacpRate"), "only for mode 802.3ad", "")
	}

	if b.ADActorSystem != "" {
		if _, err := net.ParseMAC(b.ADActorSystem); err != nil {
			v.fail(path.Key("adActorSystem"), fmt.Sprintf("%q is not a hardware address", b.ADActorSystem), "")
		}
	}
}

func (v *validator) wireguard(path *tree.Path, w *DeviceWireguardConfig) {
	if w == nil {
		return
	}

	if require(v, path.Key("privateKey"), w.PrivateKey, "") {
		wireguardKey(v, path.Key("privateKey"), w.PrivateKey)
	}

	within(v, path.Key("listenPort"), w.ListenPort, 1, 65535)

	for i, peer := range w.Peers {
		at := path.Key("peers").Index(i)
		wireguardKey(v, at.Key("publicKey"), peer.PublicKey)
		optional(v, at.Key("endpoint"), peer.Endpoint, hostPort)
		each(v, at.Key("allowedIPs"), peer.AllowedIPs, prefix)
	}
}

func wireguardKey(v *validator, path *tree.Path, text string) {
	if raw, err := base64.StdEncoding.DecodeString(text); err != nil || len(raw) != 32 {
		v.fail(path, "not a WireGuard key", "base64 of 32 bytes, as wg genkey prints it")
	}
}
