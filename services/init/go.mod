module github.com/dactyl-os/dactyl/services/init

go 1.26.0

replace github.com/dactyl-os/dactyl/proto => ../../proto

replace github.com/dactyl-os/dactyl/services/kit => ../kit

require (
	go.yaml.in/yaml/v4 v4.0.0-rc.4
	golang.org/x/sys v0.48.0
)
