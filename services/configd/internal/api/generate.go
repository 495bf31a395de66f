package api

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"go.yaml.in/yaml/v4"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/config/patch"
	"github.com/dactyl-os/dactyl/proto/machine"
)

// GenerateConfiguration makes the configuration of one more machine from this cluster's secrets, or in maintenance that
// of a new cluster's first machine, with a client configuration.
func (s *Server) GenerateConfiguration(_ context.Context, req *machine.GenerateConfigurationRequest) (*machine.GenerateConfigurationResponse, error) {
	if version := req.GetConfigVersion(); version != "" && version != "v1alpha1" {
		return nil, status.Errorf(codes.InvalidArgument, "unknown configuration version %q: it is v1alpha1", version)
	}

	input, err := s.generateInput(req)
	if err != nil {
		return nil, err
	}

	out, err := generate.Config(input)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}

	data := out.ControlPlane

	switch req.GetMachineConfig().GetType() {
	case machine.MachineConfig_TYPE_WORKER:
		data = out.Worker
	case machine.MachineConfig_TYPE_CONTROL_PLANE, machine.MachineConfig_TYPE_INIT:
	default:
		return nil, status.Error(codes.InvalidArgument, "machine_config.type is missing")
	}

	if data, err = withNetwork(data, req); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}

	client, err := out.Client.Bytes()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	return &machine.GenerateConfigurationResponse{Messages: []*machine.GenerateConfiguration{{Data: [][]byte{data}, Talosconfig: client}}}, nil
}

func (s *Server) generateInput(req *machine.GenerateConfigurationRequest) (generate.Input, error) {
	cluster, machineConfig := req.GetClusterConfig(), req.GetMachineConfig()
	input := generate.Input{
		ClusterName:                    cluster.GetName(),
		Endpoint:                       cluster.GetControlPlane().GetEndpoint(),
		DNSDomain:                      cluster.GetClusterNetwork().GetDnsDomain(),
		InstallDisk:                    machineConfig.GetInstallConfig().GetInstallDisk(),
		InstallImage:                   machineConfig.GetInstallConfig().GetInstallImage(),
		KubernetesVersion:              machineConfig.GetKubernetesVersion(),
		AllowSchedulingOnControlPlanes: cluster.GetAllowSchedulingOnControlPlanes(),
		Now:                            time.Now(),
	}

	if at := req.GetOverrideTime(); at != nil {
		input.Now = at.AsTime()
	}

	var current *config.Config
	if s.Active != nil {
		current = s.Active.Current()
	}

	if u, err := url.Parse(input.Endpoint); err == nil && u.Hostname() != "" {
		input.ClientEndpoints = []string{u.Hostname()}
	}

	if current == nil {
		return input, nil
	}

	bundle, err := generate.FromConfig(current)
	if err != nil {
		return input, status.Error(codes.FailedPrecondition, err.Error())
	}

	input.Bundle = bundle

	return input, nil
}

// withNetwork adds the request's network as a patch, in the shape of the configuration.
func withNetwork(data []byte, req *machine.GenerateConfigurationRequest) ([]byte, error) {
	network := &config.NetworkConfig{Hostname: req.GetMachineConfig().GetNetworkConfig().GetHostname()}

	for _, device := range req.GetMachineConfig().GetNetworkConfig().GetInterfaces() {
		d := &config.Device{Interface: device.GetInterface(), MTU: int(device.GetMtu()), DHCP: new(device.GetDhcp()), Ignore: new(device.GetIgnore())}
		if device.GetCidr() != "" {
			d.Addresses = []string{device.GetCidr()}
		}

		if options := device.GetDhcpOptions(); options != nil {
			d.DHCPOptions = &config.DHCPOptions{RouteMetric: options.GetRouteMetric()}
		}

		for _, route := range device.GetRoutes() {
			d.Routes = append(d.Routes, &config.Route{Network: route.GetNetwork(), Gateway: route.GetGateway(), Metric: route.GetMetric()})
		}

		network.Interfaces = append(network.Interfaces, d)
	}

	if cni := req.GetClusterConfig().GetClusterNetwork().GetCniConfig(); cni != nil {
		c := &config.ClusterConfig{Network: &config.ClusterNetworkConfig{CNI: &config.CNIConfig{Name: cni.GetName(), URLs: cni.GetUrls()}}}

		return applyDocument(data, map[string]any{"machine": map[string]any{"network": network}, "cluster": c})
	}

	return applyDocument(data, map[string]any{"machine": map[string]any{"network": network}})
}

func applyDocument(data []byte, document map[string]any) ([]byte, error) {
	text, err := yaml.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}

	p, err := patch.Load(string(text))
	if err != nil {
		return nil, err
	}

	return patch.Apply(data, p)
}
