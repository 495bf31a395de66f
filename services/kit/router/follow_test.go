package router

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
)

// An owner that was stopped is asked again and again, and told of once.
func TestABrokenWatchIsToldOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())

	var log bytes.Buffer

	options := optionsOf(nil)
	options.log = slog.New(slog.NewTextHandler(&log, nil))

	asked := 0
	refuse := func(context.Context, from, chan<- []state.Event) error {
		if asked++; asked == 5 {
			cancel()
		}

		return status.Errorf(codes.FailedPrecondition, "it was stopped")
	}

	kind := resource.NewMetadata("test", "Things", "", resource.VersionUndefined)
	newFollower(refuse, func(context.Context, []state.Event) bool { return true }, wants{}, kind, options).run(ctx)

	if told := strings.Count(log.String(), "watch broke"); asked < 5 || told != 1 {
		t.Errorf("asked %d times, told %d times:\n%s", asked, told, log.String())
	}
}
