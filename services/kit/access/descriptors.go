package access

import (
	"cmp"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dactyl-os/dactyl/proto/options"
)

// readDescriptors makes the table from every file descriptor in the binary.
func readDescriptors() map[string]Method {
	table := map[string]Method{}

	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		// Expanding a descriptor costs memory: leave the runtime's own files alone.
		if strings.HasPrefix(file.Path(), "google/") {
			return true
		}

		services := file.Services()
		for i := range services.Len() {
			addService(table, services.Get(i))
		}

		return true
	})

	addExternal(table)

	return table
}

func addService(table map[string]Method, service protoreflect.ServiceDescriptor) {
	rpcs := service.Methods()

	for i := range rpcs.Len() {
		rpc := rpcs.Get(i)
		opts, _ := rpc.Options().(*descriptorpb.MethodOptions)

		m := Method{
			Name:            "/" + string(service.FullName()) + "/" + string(rpc.Name()),
			Idempotent:      opts.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN,
			MaxRequest:      DefaultMaxRequest,
			ClientStreaming: rpc.IsStreamingClient(),
			ServerStreaming: rpc.IsStreamingServer(),
			Streaming:       rpc.IsStreamingClient() || rpc.IsStreamingServer(),
		}

		if opts != nil {
			m.Owner, _ = proto.GetExtension(opts, options.E_Owner).(string)
			m.Roles, _ = proto.GetExtension(opts, options.E_Roles).([]string)
			m.Callers, _ = proto.GetExtension(opts, options.E_Callers).([]string)
			m.Maintenance, _ = proto.GetExtension(opts, options.E_Maintenance).(bool)
			m.MaxRequest = maxRequest(proto.GetExtension(opts, options.E_MaxRequest).(uint32))
		}

		table[m.Name] = m
	}
}

func maxRequest(declared uint32) int { return cmp.Or(int(declared), DefaultMaxRequest) }

// addExternal fills in what proto/options says about services declared by other modules (cosi.resource.State, health).
func addExternal(table map[string]Method) {
	opts, _ := options.File_dactyl_cosi_proto.Options().(*descriptorpb.FileOptions)
	external, _ := proto.GetExtension(opts, options.E_External).([]*options.ExternalMethod)

	for _, e := range external {
		m := table[e.GetName()]
		m.Name = e.GetName()
		m.Roles = e.GetRoles()
		m.Callers = e.GetCallers()
		m.Maintenance = e.GetMaintenance()
		m.MaxRequest = maxRequest(e.GetMaxRequest())
		m.Idempotent = m.Idempotent || e.GetNoSideEffects()
		table[m.Name] = m
	}
}
