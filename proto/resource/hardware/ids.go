package hardware

import "github.com/cosi-project/runtime/pkg/resource"

// SystemInformationID is the one SystemInformation.
const SystemInformationID = resource.ID("systeminformation")
