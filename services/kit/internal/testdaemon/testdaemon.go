// Package testdaemon is a small daemon for the kit's own tests and measurements: it owns one resource type and serves
// time.TimeService so that there is a method to call.
package testdaemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	"github.com/cosi-project/runtime/pkg/resource/typed"

	timeapi "github.com/dactyl-os/dactyl/proto/time"

	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// Name is the daemon's name and the owner of its types. The others are daemons of a node, which alone may read: CopierName
// is the second test daemon's, Reader may read the secret type, Writer may write items.
const (
	Name       = "testdaemon"
	CopierName = "hostd"
	Reader     = "timed"
	Writer     = "networkd"
)

// Types of the test daemon.
const (
	Namespace  = "test"
	ItemType   = "Items.test.dactyl.dev"
	SecretType = "Secrets.test.dactyl.dev"
	CopyType   = "Copies.test.dactyl.dev"
	PokeType   = "Pokes.test.dactyl.dev"
)

// ItemSpec is a value, its protobuf form and its YAML form.
type ItemSpec struct {
	Value string `protobuf:"1" yaml:"value"`
}

// DeepCopy copies the value.
func (s ItemSpec) DeepCopy() ItemSpec { return s }

// Item is a resource of the test daemon.
type Item = typed.Resource[ItemSpec, ItemExtension]

// ItemExtension describes Item.
type ItemExtension struct{}

// ResourceDefinition describes Item.
func (ItemExtension) ResourceDefinition() meta.ResourceDefinitionSpec {
	return meta.ResourceDefinitionSpec{Type: ItemType, DefaultNamespace: Namespace}
}

// NewItem makes an item of one of the test types.
func NewItem(typ, id, value string) *Item {
	return typed.NewResource[ItemSpec, ItemExtension](resource.NewMetadata(Namespace, typ, id, resource.VersionUndefined), ItemSpec{Value: value})
}

// Register makes the types known to cosi; many times is fine.
func Register() {
	for _, typ := range []string{ItemType, SecretType, CopyType, PokeType} {
		_ = protobuf.RegisterDynamic[ItemSpec](typ, &Item{}) // an error says that it was registered before
	}
}

// Definitions of the test types.
func Definitions() map[string]daemon.Definition {
	return map[string]daemon.Definition{
		ItemType:   {Owner: Name, Writers: []string{Writer}},
		SecretType: {Owner: Name, Sensitive: true, Readers: []string{Reader}},
		CopyType:   {Owner: CopierName},
		PokeType:   {Owner: CopierName},
	}
}

// New fills the store as the environment asks: TEST_ITEMS items, TEST_BEHAVIOUR one of "", panic, fail, hang.
func New(env *daemon.Env) error {
	Register()

	for typ, def := range Definitions() {
		env.Define(typ, def)
	}

	env.Redact(SecretType, func(r resource.Resource) (resource.Resource, error) {
		r.(*Item).TypedSpec().Value = "******" //nolint:forcetypeassert // only items have the type

		return r, nil
	})

	timeapi.RegisterTimeServiceServer(env.Server(), timeServer{env: env})

	count, _ := strconv.Atoi(os.Getenv("TEST_ITEMS"))
	if err := env.Controller(&filler{count: count}); err != nil {
		return err
	}

	env.Go("behaviour", behaviour)

	return nil
}

// Copier is a daemon that keeps a copy of every item.
func Copier(env *daemon.Env) error {
	Register()

	for typ, def := range Definitions() {
		env.Define(typ, def)
	}

	return env.Controller(copier{})
}

func behaviour(ctx context.Context) error {
	switch os.Getenv("TEST_BEHAVIOUR") {
	case "panic":
		panic("as asked")
	case "fail":
		return errors.New("failed as asked")
	case "hang":
		select {}
	default:
		<-ctx.Done()

		return nil
	}
}

type timeServer struct {
	timeapi.UnimplementedTimeServiceServer

	env *daemon.Env
}

// Time answers at once.
func (timeServer) Time(context.Context, *emptypb.Empty) (*timeapi.TimeResponse, error) {
	return &timeapi.TimeResponse{Messages: []*timeapi.Time{{Server: "here"}}}, nil
}

// TimeCheck panics, or publishes the item "waiting" and waits as long as its server's name says.
func (s timeServer) TimeCheck(ctx context.Context, req *timeapi.TimeRequest) (*timeapi.TimeResponse, error) {
	if req.GetServer() == "panic" {
		panic("as asked")
	}

	wait, err := time.ParseDuration(req.GetServer())
	if err != nil {
		return nil, err
	}

	// Tests await this item: the call has arrived.
	if err := s.env.Local().Create(ctx, NewItem(ItemType, "waiting", "")); err != nil {
		return nil, err
	}

	select {
	case <-time.After(wait):
		return &timeapi.TimeResponse{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// filler publishes items one by one, as slow daemons do.
type filler struct{ count int }

func (*filler) Name() string               { return "test.Filler" }
func (*filler) Inputs() []controller.Input { return nil }
func (*filler) Outputs() []controller.Output {
	return []controller.Output{{Type: ItemType, Kind: controller.OutputShared}, {Type: SecretType, Kind: controller.OutputShared}}
}

func (f *filler) Run(ctx context.Context, rt controller.Runtime, _ *zap.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-rt.EventCh():
		}

		items := []*Item{NewItem(SecretType, "key", "hidden")}
		for i := range f.count {
			items = append(items, NewItem(ItemType, fmt.Sprintf("item-%03d", i), strconv.Itoa(i)))
		}

		for _, item := range items {
			value := item.TypedSpec().Value

			if err := rt.Modify(ctx, item, func(r resource.Resource) error {
				r.(*Item).TypedSpec().Value = value //nolint:forcetypeassert // items go in

				return nil
			}, controller.WithModifyNoOwner()); err != nil {
				return err
			}
		}
	}
}

// copier publishes a copy of each item of the other daemon, and of each poke.
type copier struct{}

func (copier) Name() string { return "test.Copier" }
func (copier) Inputs() []controller.Input {
	return []controller.Input{
		{Namespace: Namespace, Type: ItemType, Kind: controller.InputWeak},
		{Namespace: Namespace, Type: PokeType, Kind: controller.InputWeak},
	}
}
func (copier) Outputs() []controller.Output {
	return []controller.Output{{Type: CopyType, Kind: controller.OutputExclusive}}
}

func (copier) Run(ctx context.Context, rt controller.Runtime, _ *zap.Logger) error {
	return reconcile.Each(ctx, rt, func() error {
		var items []resource.Resource

		for _, typ := range []resource.Type{ItemType, PokeType} {
			list, err := rt.List(ctx, resource.NewMetadata(Namespace, typ, "", resource.VersionUndefined))
			if err != nil {
				return err
			}

			items = append(items, list.Items...)
		}

		rt.StartTrackingOutputs()

		for _, r := range items {
			item := r.(*Item) //nolint:forcetypeassert // registered

			if err := rt.Modify(ctx, NewItem(CopyType, item.Metadata().ID(), ""), func(r resource.Resource) error {
				r.(*Item).TypedSpec().Value = item.TypedSpec().Value //nolint:forcetypeassert // made above

				return nil
			}); err != nil {
				return err
			}
		}

		return rt.CleanupOutputs(ctx, resource.NewMetadata(Namespace, CopyType, "", resource.VersionUndefined))
	})
}
