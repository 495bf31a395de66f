package daemon

import (
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/dactyl-os/dactyl/services/kit/cgroup"
	"github.com/dactyl-os/dactyl/services/kit/internal/peercred"
)

// callerNames decides how the daemon called name knows who calls it. init puts each daemon into a cgroup of its name, so the
// others are those beside its own. A daemon run by hand made its own socket, which this user alone can open. What has
// neither could not tell its callers apart.
func callerNames(name string, handedOver bool) (func(peercred.Caller) string, error) {
	place, err := cgroup.Of("self")

	switch {
	case err == nil && path.Base(place) == name:
		return peercred.Beside(path.Dir(place)), nil
	case handedOver:
		return nil, errors.Join(err, fmt.Errorf("the socket was handed over, but the process is in the cgroup %q, not in one called %s: "+
			"it could not tell who calls it", place, name))
	default:
		return peercred.SameUser(os.Geteuid()), nil
	}
}
