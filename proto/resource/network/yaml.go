package network

import "net/netip"

// netip.Addr has no exported field, so the YAML package takes each one for
// empty and leaves it out under omitempty; pointers say what is meant.
func orNil(a netip.Addr) *netip.Addr {
	if !a.IsValid() {
		return nil
	}

	return &a
}

// MarshalYAML keeps the optional addresses.
func (s *AddressStatusSpec) MarshalYAML() (any, error) {
	return struct {
		Address   netip.Prefix `yaml:"address"`
		Local     *netip.Addr  `yaml:"local,omitempty"`
		Broadcast *netip.Addr  `yaml:"broadcast,omitempty"`
		Anycast   *netip.Addr  `yaml:"anycast,omitempty"`
		Multicast *netip.Addr  `yaml:"multicast,omitempty"`
		LinkIndex uint32       `yaml:"linkIndex"`
		LinkName  string       `yaml:"linkName"`
		Family    any          `yaml:"family"`
		Scope     any          `yaml:"scope"`
		Flags     any          `yaml:"flags"`
	}{s.Address, orNil(s.Local), orNil(s.Broadcast), orNil(s.Anycast), orNil(s.Multicast),
		s.LinkIndex, s.LinkName, s.Family, s.Scope, s.Flags}, nil
}

// MarshalYAML keeps the optional address.
func (s *HostDNSConfigSpec) MarshalYAML() (any, error) {
	return struct {
		Enabled               bool             `yaml:"enabled"`
		ListenAddresses       []netip.AddrPort `yaml:"listenAddresses,omitempty"`
		ServiceHostDNSAddress *netip.Addr      `yaml:"serviceHostDNSAddress,omitempty"`
		ResolveMemberNames    bool             `yaml:"resolveMemberNames,omitempty"`
	}{s.Enabled, s.ListenAddresses, orNil(s.ServiceHostDNSAddress), s.ResolveMemberNames}, nil
}
