package runtime

import "github.com/cosi-project/runtime/pkg/resource"

// Identifiers of the resources that are one of a kind.
const (
	MachineStatusID            = resource.ID("machine")
	MachineResetSignalID       = resource.ID("machine")
	PlatformMetadataID         = resource.ID("platformmetadata")
	UniqueMachineTokenID       = resource.ID("unique-machine-token")
	MetaLoadedID               = resource.ID("meta-loaded")
	SecurityStateID            = resource.ID("securitystate")
	DevicesID                  = resource.ID("devices")
	EventSinkConfigID          = resource.ID("event-sink")
	KmsgLogConfigID            = resource.ID("kmsg-log")
	MaintenanceServiceConfigID = resource.ID("maintenance")
	WatchdogTimerID            = resource.ID("timer")
)
