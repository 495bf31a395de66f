package generate

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/dactyl-os/dactyl/proto/config"
)

var (
	clusterName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	release     = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$`)
)

// check refuses what no field of a configuration tells as wrong.
func (in *Input) check() error {
	switch {
	case in.ClusterName == "":
		return errors.New("the cluster has no name")
	case !clusterName.MatchString(in.ClusterName):
		return fmt.Errorf("cluster name %q: letters, digits, dots, hyphens and underscores, 63 at most", in.ClusterName)
	case !release.MatchString(in.KubernetesVersion):
		return fmt.Errorf("%q is not a version of Kubernetes: write it like %s", in.KubernetesVersion, DefaultKubernetesVersion)
	}

	return nil
}

// judge refuses a configuration that machines would refuse. It names a disk to install to, so it is held to the strictest mode.
func judge(data []byte) error {
	c, err := config.Load(data)
	if err == nil {
		_, err = c.Validate(config.Metal, config.New)
	}

	if err != nil {
		return fmt.Errorf("no machine would take it: %w", err)
	}

	return nil
}
