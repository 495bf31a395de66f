module github.com/dactyl-os/dactyl/services/hostd

go 1.26.0

replace github.com/dactyl-os/dactyl/proto => ../../proto
replace github.com/dactyl-os/dactyl/services/kit => ../../services/kit
