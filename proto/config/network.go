package config

// NetworkConfig is the machine's network.
type NetworkConfig struct {
	Hostname            string           `yaml:"hostname,omitempty" desc:"Static host name."`
	Interfaces          []*Device        `yaml:"interfaces,omitempty" merge:"key=interface,deviceSelector" desc:"Links with their addresses and routes."`
	Nameservers         []string         `yaml:"nameservers,omitempty" desc:"Resolvers, as addresses."`
	ExtraHostEntries    []*ExtraHost     `yaml:"extraHostEntries,omitempty" desc:"More lines of /etc/hosts."`
	KubeSpan            *NetworkKubeSpan `yaml:"kubespan,omitempty" desc:"A WireGuard mesh of the nodes."`
	DisableSearchDomain *bool            `yaml:"disableSearchDomain,omitempty"`
}

// Device is one link, named or selected by its hardware.
type Device struct {
	Interface      string                 `yaml:"interface,omitempty"`
	DeviceSelector *NetworkDeviceSelector `yaml:"deviceSelector,omitempty"`
	Addresses      []string               `yaml:"addresses,omitempty"`
	Routes         []*Route               `yaml:"routes,omitempty"`
	Bond           *Bond                  `yaml:"bond,omitempty"`
	Bridge         *Bridge                `yaml:"bridge,omitempty"`
	Vlans          []*Vlan                `yaml:"vlans,omitempty" merge:"key=vlanId"`
	MTU            int                    `yaml:"mtu,omitempty"`
	DHCP           *bool                  `yaml:"dhcp,omitempty"`
	Ignore         *bool                  `yaml:"ignore,omitempty"`
	Dummy          *bool                  `yaml:"dummy,omitempty"`
	DHCPOptions    *DHCPOptions           `yaml:"dhcpOptions,omitempty"`
	Wireguard      *DeviceWireguardConfig `yaml:"wireguard,omitempty"`
	VIP            *DeviceVIPConfig       `yaml:"vip,omitempty"`
}

// NetworkDeviceSelector picks physical links; strings may hold globs.
type NetworkDeviceSelector struct {
	BusPath      string `yaml:"busPath,omitempty"`
	HardwareAddr string `yaml:"hardwareAddr,omitempty"`
	PCIID        string `yaml:"pciID,omitempty"`
	Driver       string `yaml:"driver,omitempty"`
	Physical     *bool  `yaml:"physical,omitempty"`
}

// Route leads to a network (empty: default) by a gateway (empty: link scope).
type Route struct {
	Network string `yaml:"network,omitempty"`
	Gateway string `yaml:"gateway,omitempty"`
	Source  string `yaml:"source,omitempty"`
	Metric  uint32 `yaml:"metric,omitempty"`
	MTU     uint32 `yaml:"mtu,omitempty"`
}

// Bond takes the kernel's bonding options by their v1.8 names; times in milliseconds.
type Bond struct {
	Interfaces      []string                 `yaml:"interfaces,omitempty"`
	DeviceSelectors []*NetworkDeviceSelector `yaml:"deviceSelectors,omitempty"`
	ARPIPTarget     []string                 `yaml:"arpIPTarget,omitempty"`
	Mode            string                   `yaml:"mode,omitempty" enum:"balance-rr|active-backup|balance-xor|broadcast|802.3ad|balance-tlb|balance-alb"`
	XmitHashPolicy  string                   `yaml:"xmitHashPolicy,omitempty" enum:"layer2|layer3+4|layer2+3|encap2+3|encap3+4"`
	LACPRate        string                   `yaml:"lacpRate,omitempty" enum:"slow|fast"`
	ADActorSystem   string                   `yaml:"adActorSystem,omitempty"`
	ARPValidate     string                   `yaml:"arpValidate,omitempty" enum:"none|active|backup|all"`
	ARPAllTargets   string                   `yaml:"arpAllTargets,omitempty" enum:"any|all"`
	Primary         string                   `yaml:"primary,omitempty"`
	PrimaryReselect string                   `yaml:"primaryReselect,omitempty" enum:"always|better|failure"`
	FailOverMac     string                   `yaml:"failOverMac,omitempty" enum:"none|active|follow"`
	ADSelect        string                   `yaml:"adSelect,omitempty" enum:"stable|bandwidth|count"`
	MIIMon          uint32                   `yaml:"miimon,omitempty"`
	UpDelay         uint32                   `yaml:"updelay,omitempty"`
	DownDelay       uint32                   `yaml:"downdelay,omitempty"`
	ARPInterval     uint32                   `yaml:"arpInterval,omitempty"`
	ResendIGMP      uint32                   `yaml:"resendIgmp,omitempty"`
	MinLinks        uint32                   `yaml:"minLinks,omitempty"`
	LPInterval      uint32                   `yaml:"lpInterval,omitempty"`
	PacketsPerSlave uint32                   `yaml:"packetsPerSlave,omitempty"`
	NumPeerNotif    uint8                    `yaml:"numPeerNotif,omitempty"`
	TLBDynamicLB    uint8                    `yaml:"tlbDynamicLb,omitempty"`
	AllSlavesActive uint8                    `yaml:"allSlavesActive,omitempty"`
	UseCarrier      *bool                    `yaml:"useCarrier,omitempty"`
	ADActorSysPrio  uint16                   `yaml:"adActorSysPrio,omitempty"`
	ADUserPortKey   uint16                   `yaml:"adUserPortKey,omitempty"`
	PeerNotifyDelay uint32                   `yaml:"peerNotifyDelay,omitempty"`
}

// Bridge joins links.
type Bridge struct {
	Interfaces []string    `yaml:"interfaces,omitempty"`
	STP        *Enableable `yaml:"stp,omitempty"`
	VLAN       *BridgeVLAN `yaml:"vlan,omitempty"`
}

// BridgeVLAN is a bridge's VLAN filtering.
type BridgeVLAN struct {
	FilteringEnabled *bool `yaml:"vlanFiltering,omitempty"`
}

// Vlan is a VLAN on a link.
type Vlan struct {
	Addresses   []string         `yaml:"addresses,omitempty"`
	Routes      []*Route         `yaml:"routes,omitempty"`
	DHCP        *bool            `yaml:"dhcp,omitempty"`
	VlanID      uint16           `yaml:"vlanId"`
	MTU         uint32           `yaml:"mtu,omitempty"`
	VIP         *DeviceVIPConfig `yaml:"vip,omitempty"`
	DHCPOptions *DHCPOptions     `yaml:"dhcpOptions,omitempty"`
}

// DHCPOptions tunes the DHCP clients.
type DHCPOptions struct {
	RouteMetric uint32 `yaml:"routeMetric,omitempty"`
	IPv4        *bool  `yaml:"ipv4,omitempty"`
	IPv6        *bool  `yaml:"ipv6,omitempty"`
	DUIDv6      string `yaml:"duidv6,omitempty"`
}

// DeviceWireguardConfig makes the link a WireGuard tunnel.
type DeviceWireguardConfig struct {
	PrivateKey   string                 `yaml:"privateKey,omitempty" secret:"true"`
	ListenPort   int                    `yaml:"listenPort,omitempty"`
	FirewallMark int                    `yaml:"firewallMark,omitempty"`
	Peers        []*DeviceWireguardPeer `yaml:"peers,omitempty"`
}

// DeviceWireguardPeer is one peer.
type DeviceWireguardPeer struct {
	PublicKey                   string   `yaml:"publicKey,omitempty"`
	Endpoint                    string   `yaml:"endpoint,omitempty"`
	PersistentKeepaliveInterval Duration `yaml:"persistentKeepaliveInterval,omitempty"`
	AllowedIPs                  []string `yaml:"allowedIPs,omitempty"`
}

// DeviceVIPConfig is an address shared by the control plane.
type DeviceVIPConfig struct {
	IP           string       `yaml:"ip,omitempty"`
	EquinixMetal *VIPProvider `yaml:"equinixMetal,omitempty"`
	HCloud       *VIPProvider `yaml:"hcloud,omitempty"`
}

// VIPProvider is the access to a provider that moves the address.
type VIPProvider struct {
	APIToken string `yaml:"apiToken" secret:"true"`
}

// ExtraHost is a line of /etc/hosts.
type ExtraHost struct {
	IP      string   `yaml:"ip"`
	Aliases []string `yaml:"aliases"`
}

// NetworkKubeSpan is the WireGuard mesh.
type NetworkKubeSpan struct {
	Enabled                     *bool            `yaml:"enabled,omitempty"`
	AdvertiseKubernetesNetworks *bool            `yaml:"advertiseKubernetesNetworks,omitempty"`
	AllowDownPeerBypass         *bool            `yaml:"allowDownPeerBypass,omitempty"`
	HarvestExtraEndpoints       *bool            `yaml:"harvestExtraEndpoints,omitempty"`
	MTU                         uint32           `yaml:"mtu,omitempty"`
	Filters                     *KubeSpanFilters `yaml:"filters,omitempty"`
}

// KubeSpanFilters limits the announced endpoints; a leading ! excludes.
type KubeSpanFilters struct {
	Endpoints []string `yaml:"endpoints,omitempty"`
}
