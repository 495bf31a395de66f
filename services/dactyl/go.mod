module github.com/dactyl-os/dactyl/services/dactyl

go 1.26.0

replace (
	github.com/dactyl-os/dactyl/proto => ../../proto
	github.com/dactyl-os/dactyl/services/configd => ../configd
	github.com/dactyl-os/dactyl/services/discoveryd => ../discoveryd
	github.com/dactyl-os/dactyl/services/gateway => ../gateway
	github.com/dactyl-os/dactyl/services/hostd => ../hostd
	github.com/dactyl-os/dactyl/services/init => ../init
	github.com/dactyl-os/dactyl/services/kit => ../kit
	github.com/dactyl-os/dactyl/services/networkd => ../networkd
	github.com/dactyl-os/dactyl/services/timed => ../timed
	github.com/dactyl-os/dactyl/services/trustd => ../trustd
)

require (
	github.com/dactyl-os/dactyl/services/configd v0.0.0
	github.com/dactyl-os/dactyl/services/discoveryd v0.0.0
	github.com/dactyl-os/dactyl/services/gateway v0.0.0
	github.com/dactyl-os/dactyl/services/hostd v0.0.0
	github.com/dactyl-os/dactyl/services/init v0.0.0
	github.com/dactyl-os/dactyl/services/kit v0.0.0
	github.com/dactyl-os/dactyl/services/networkd v0.0.0
	github.com/dactyl-os/dactyl/services/timed v0.0.0
	github.com/dactyl-os/dactyl/services/trustd v0.0.0
)

require (
	github.com/kdomanski/iso9660 v0.4.0 // indirect
	github.com/klauspost/compress v1.18.5 // indirect
	github.com/siderolabs/go-blockdevice/v2 v2.0.20 // indirect
)

require (
	github.com/aymanbagabas/go-udiff v0.4.1 // indirect
	github.com/beevik/ntp v1.6.0 // indirect
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/cosi-project/runtime v1.14.1 // indirect
	github.com/dactyl-os/dactyl/proto v0.0.0 // indirect
	github.com/dactyl-os/dactyl/services/diskd v0.0.0
	github.com/gertd/go-pluralize v0.2.1 // indirect
	github.com/google/btree v1.1.3 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/grpc-ecosystem/grpc-gateway/v2 v2.28.0 // indirect
	github.com/hashicorp/errwrap v1.1.0 // indirect
	github.com/hashicorp/go-immutable-radix v1.3.1 // indirect
	github.com/hashicorp/go-metrics v0.7.0 // indirect
	github.com/hashicorp/go-msgpack/v2 v2.1.5 // indirect
	github.com/hashicorp/go-multierror v1.1.1 // indirect
	github.com/hashicorp/go-sockaddr v1.0.7 // indirect
	github.com/hashicorp/golang-lru v1.0.2 // indirect
	github.com/hashicorp/memberlist v0.7.0 // indirect
	github.com/insomniacslk/dhcp v0.0.0-20260901064844-234b97448fae // indirect
	github.com/josharian/native v1.1.0 // indirect
	github.com/jsimonetti/rtnetlink/v2 v2.0.2 // indirect
	github.com/mdlayher/ethtool v0.6.0 // indirect
	github.com/mdlayher/genetlink v1.3.2 // indirect
	github.com/mdlayher/netlink v1.11.2 // indirect
	github.com/mdlayher/packet v1.1.2 // indirect
	github.com/mdlayher/socket v0.6.0 // indirect
	github.com/miekg/dns v1.1.73 // indirect
	github.com/pierrec/lz4/v4 v4.1.14 // indirect
	github.com/planetscale/vtprotobuf v0.6.1-0.20240319094008-0393e58bdf10 // indirect
	github.com/sean-/seed v0.0.0-20170313163322-e2103e2c3529 // indirect
	github.com/siderolabs/gen v0.8.6 // indirect
	github.com/siderolabs/go-pointer v1.0.1 // indirect
	github.com/siderolabs/protoenc v0.2.4 // indirect
	github.com/u-root/uio v0.0.0-20230220225925-ffce2a382923 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.uber.org/zap v1.27.1 // indirect
	go.yaml.in/yaml/v4 v4.0.0-rc.4 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	golang.org/x/time v0.15.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/dactyl-os/dactyl/services/diskd => ../diskd
