module github.com/dactyl-os/dactyl/services/networkd

go 1.26.0

require (
	github.com/dactyl-os/dactyl/proto v0.0.0
	github.com/dactyl-os/dactyl/services/kit v0.0.0-00010101000000-000000000000
	github.com/jsimonetti/rtnetlink/v2 v2.0.2
	github.com/mdlayher/ethtool v0.6.0
	github.com/mdlayher/netlink v1.11.2
	golang.org/x/sys v0.48.0
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/hashicorp/errwrap v1.1.0 // indirect
	github.com/hashicorp/go-multierror v1.1.1 // indirect
	github.com/mdlayher/genetlink v1.3.2 // indirect
	github.com/mdlayher/socket v0.6.0 // indirect
	go.yaml.in/yaml/v4 v4.0.0-rc.4 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/dactyl-os/dactyl/proto => ../../proto

replace github.com/dactyl-os/dactyl/services/kit => ../kit
