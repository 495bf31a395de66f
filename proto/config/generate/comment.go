package generate

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// comment writes each field's description behind or above it, and examples of what is often added below sections.
func comment(node *yaml.Node, docs, examples bool) {
	schema, _ := config.SchemaOf("")
	commentMapping(node, schema, nil, docs, examples)
}

func commentMapping(node *yaml.Node, t reflect.Type, path *tree.Path, docs, examples bool) {
	for _, pair := range tree.Pairs(node) {
		child, tag := tree.Child(t, pair.Key.Value)
		at := path.Key(pair.Key.Value)
		text := tag.Get("desc")

		switch {
		case !docs || text == "":
		case pair.Value.Kind == yaml.ScalarNode:
			pair.Value.LineComment = "# " + text
		default:
			pair.Key.HeadComment = "# " + text
		}

		if pair.Value.Kind == yaml.MappingNode && tree.Indirect(child) != nil && tree.Indirect(child).Kind() == reflect.Struct {
			commentMapping(pair.Value, child, at, docs, examples)
		}

		if text, found := exampleTexts()[at.String()]; examples && found {
			lines := strings.Split("Example:\n"+text, "\n")
			pair.Key.HeadComment = strings.TrimPrefix(pair.Key.HeadComment+"\n# "+strings.Join(lines, "\n# "), "\n")
		}
	}
}

func exampleTexts() map[string]string {
	return map[string]string{
		"machine.network": `network:
    hostname: node-1
    nameservers: [10.0.0.1]
    interfaces:
        - interface: eth0
          addresses: [10.0.0.201/8]
          mtu: 1500
          routes:
              - network: 0.0.0.0/0
                gateway: 10.0.0.1`,
		"machine.registries": `registries:
    mirrors:
        docker.io:
            endpoints: [http://10.5.0.1:6000]`,
		"machine.kubelet": `kubelet:
    nodeIP:
        validSubnets: [10.0.0.0/8]`,
		"cluster.etcd": `etcd:
    extraArgs:
        quota-backend-bytes: 4294967296`,
		"cluster.network": `network:
    cni:
        name: none`,
	}
}
