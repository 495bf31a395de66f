package api

import (
	"context"
	"maps"
	"slices"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

// systemNamespace is where the contract has what belongs to the node itself. In others there is nothing before podd.
const systemNamespace = "system"

// each calls visit with every service that has a process, under each of its names, in their order.
func (s *Server) each(namespace string, visit func(id string, service supervise.Status)) {
	if namespace != "" && namespace != systemNamespace {
		return
	}

	named := map[string]supervise.Status{}

	for _, service := range s.node.Services() {
		if service.PID == 0 {
			continue
		}

		for _, id := range append([]string{service.Name}, service.Aliases...) {
			named[id] = service
		}
	}

	for _, id := range slices.Sorted(maps.Keys(named)) {
		visit(id, named[id])
	}
}

// Stats tells what memory and processor time each daemon has used.
func (s *Server) Stats(_ context.Context, in *machine.StatsRequest) (*machine.StatsResponse, error) {
	stats := &machine.Stats{}

	s.each(in.GetNamespace(), func(id string, service supervise.Status) {
		usage, err := s.logs.Usage(service.Name, service.PID)
		if err != nil {
			return // it ended meanwhile
		}

		stats.Stats = append(stats.Stats, &machine.Stat{
			Namespace: systemNamespace, Id: id, PodId: id, Name: id,
			MemoryUsage: usage.Memory, CpuUsage: uint64(usage.CPU.Nanoseconds()),
		})
	})

	return &machine.StatsResponse{Messages: []*machine.Stats{stats}}, nil
}

// Containers lists the daemons as what runs in the node's own namespace.
func (s *Server) Containers(_ context.Context, in *machine.ContainersRequest) (*machine.ContainersResponse, error) {
	list := &machine.Container{}

	s.each(in.GetNamespace(), func(id string, service supervise.Status) {
		list.Containers = append(list.Containers, &machine.ContainerInfo{
			Namespace: systemNamespace, Id: id, PodId: id, Name: id, Pid: uint32(service.PID), Status: "RUNNING", //nolint:gosec // a PID
		})
	})

	return &machine.ContainersResponse{Messages: []*machine.Container{list}}, nil
}
