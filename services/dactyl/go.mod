module github.com/dactyl-os/dactyl/services/dactyl

go 1.26.0

replace github.com/dactyl-os/dactyl/proto => ../../proto
replace github.com/dactyl-os/dactyl/services/kit => ../../services/kit
replace github.com/dactyl-os/dactyl/services/init => ../../services/init
replace github.com/dactyl-os/dactyl/services/gateway => ../../services/gateway
replace github.com/dactyl-os/dactyl/services/configd => ../../services/configd
replace github.com/dactyl-os/dactyl/services/hostd => ../../services/hostd
replace github.com/dactyl-os/dactyl/services/networkd => ../../services/networkd
replace github.com/dactyl-os/dactyl/services/timed => ../../services/timed
replace github.com/dactyl-os/dactyl/services/trustd => ../../services/trustd
replace github.com/dactyl-os/dactyl/services/discoveryd => ../../services/discoveryd
