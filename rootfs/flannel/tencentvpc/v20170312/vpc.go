// Package v20170312 stands for a cloud SDK that the module proxy does not serve: flannel links it for a backend that no image of
// ours offers. Every call is an error.
package v20170312

import "errors"

var errLeftOut = errors.New("the tencent-vpc backend is left out of this build: choose vxlan, host-gw or wireguard")

// Client answers nothing.
type Client struct{}

// NewClientWithSecretId is named by flannel.
func NewClientWithSecretId(_, _, _ string) (*Client, error) { return &Client{}, nil } //nolint:revive,staticcheck // the SDK's name

// Filter, Route and RouteTable have the fields that flannel reads and writes.
type (
	Filter struct {
		Name   *string
		Values []*string
	}
	Route struct {
		RouteId              *uint64
		DestinationCidrBlock *string
		GatewayType          *string
		GatewayId            *string
		RouteType            *string
		Enabled              *bool
	}
	RouteTable struct {
		RouteTableId *string
		RouteSet     []*Route
	}
)

// DescribeRouteTablesRequest and the others are the requests of the three calls.
type (
	DescribeRouteTablesRequest struct{ Filters []*Filter }
	DeleteRoutesRequest        struct {
		RouteTableId *string
		Routes       []*Route
	}
	CreateRoutesRequest struct {
		RouteTableId *string
		Routes       []*Route
	}
)

// NewDescribeRouteTablesRequest is empty, as the others are.
func NewDescribeRouteTablesRequest() *DescribeRouteTablesRequest {
	return &DescribeRouteTablesRequest{}
}
func NewDeleteRoutesRequest() *DeleteRoutesRequest { return &DeleteRoutesRequest{} }
func NewCreateRoutesRequest() *CreateRoutesRequest { return &CreateRoutesRequest{} }

// DescribeRouteTablesResponse is never filled.
type DescribeRouteTablesResponse struct {
	Response struct{ RouteTableSet []*RouteTable }
}

// DescribeRouteTables refuses.
func (*Client) DescribeRouteTables(*DescribeRouteTablesRequest) (*DescribeRouteTablesResponse, error) {
	return nil, errLeftOut
}

// DeleteRoutes refuses.
func (*Client) DeleteRoutes(*DeleteRoutesRequest) (any, error) { return nil, errLeftOut }

// CreateRoutes refuses.
func (*Client) CreateRoutes(*CreateRoutesRequest) (any, error) { return nil, errLeftOut }
