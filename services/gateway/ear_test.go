package gateway_test

import (
	"context"
	"sync"

	"google.golang.org/protobuf/types/known/emptypb"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/proto/machine"
)

type ear struct {
	initv1.UnimplementedInitServiceServer
	machine.UnimplementedMachineServiceServer

	mu   sync.Mutex
	last string
}

func (e *ear) Report(_ context.Context, in *initv1.ReportRequest) (*initv1.ReportResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()

	e.last = in.GetState() + ": " + in.GetMessage()

	return &initv1.ReportResponse{}, nil
}

func (*ear) Version(context.Context, *emptypb.Empty) (*machine.VersionResponse, error) {
	return &machine.VersionResponse{Messages: []*machine.Version{{}}}, nil
}

func (e *ear) heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()

	return e.last
}

func (e *ear) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()

	e.last = ""
}
