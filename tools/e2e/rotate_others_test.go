package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"go.yaml.in/yaml/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// twoCAs is a rotation by somebody else's hand: client configurations for each of its stages.
type twoCAs struct {
	t        *testing.T
	oldCA    []byte
	newCA    pki.Pair
	admin    pki.Pair // of the new CA
	files    int
	endpoint string
}

func beginByHand(t *testing.T) *twoCAs {
	t.Helper()

	secrets, err := generate.NewBundle(time.Now())
	if err != nil {
		t.Fatal(err)
	}

	admin, err := secrets.ClientPair([]string{"os:admin"}, time.Now(), generate.ClientTTL)
	if err != nil {
		t.Fatal(err)
	}

	issuing, _ := authorities(t, controlPlanes[0])

	return &twoCAs{
		t: t, oldCA: []byte(issuing), newCA: pki.Pair{Crt: secrets.Certs.OS.Crt, Key: secrets.Certs.OS.Key}, admin: admin, endpoint: controlPlanes[0],
	}
}

// file is a client configuration with the new client certificate that believes some CAs.
func (c *twoCAs) file(path string, cas ...[]byte) string {
	c.t.Helper()

	if path == "" {
		c.files++
		path = filepath.Join(c.t.TempDir(), fmt.Sprint(c.files))
	}

	file, err := clientconfig.Read(adminFile())
	if err != nil {
		c.t.Fatal(err)
	}

	current, err := file.Current("")
	if err != nil {
		c.t.Fatal(err)
	}

	*current = *clientconfig.NewContext(current.Endpoints, slices.Concat(cas...), c.admin.Crt, c.admin.Key)

	if err := file.Write(path); err != nil {
		c.t.Fatal(err)
	}

	return path
}

// dial is a connection to the endpoint with a client configuration.
func (c *twoCAs) dial(path string) *grpc.ClientConn {
	c.t.Helper()

	file, err := clientconfig.Read(path)
	if err != nil {
		c.t.Fatal(err)
	}

	current, err := file.Current("")
	if err != nil {
		c.t.Fatal(err)
	}

	config, err := current.TLS()
	if err != nil {
		c.t.Fatal(err)
	}

	conn, err := grpc.NewClient(c.endpoint+":50000", grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		c.t.Fatal(err)
	}

	c.t.Cleanup(func() { conn.Close() })

	return conn
}

// verify asks every node through the endpoint.
func (c *twoCAs) verify(stage, path string) {
	c.t.Helper()

	client := machine.NewMachineServiceClient(c.dial(path))

	for _, node := range nodes() {
		kittest.AwaitNoError(c.t, 30*time.Second, func() error {
			ctx, cancel := context.WithTimeout(outside.Node(c.t.Context(), node), callDeadline)
			defer cancel()

			if _, err := client.Version(ctx, &emptypb.Empty{}); err != nil {
				return fmt.Errorf("%s: %s: %w", stage, node, err)
			}

			return nil
		})
	}
}

// run is the order of calls of guide 04; change brings one node to a stage.
func (c *twoCAs) run(change func(file, node string, ca pki.Pair, accepted ...[]byte)) {
	c.t.Helper()

	old := keepOld(c.t)
	keyOf := func(node string) pki.Pair {
		if node == worker {
			return pki.Pair{Crt: c.newCA.Crt}
		}

		return c.newCA
	}

	for _, node := range nodes() {
		change(old, node, pki.Pair{}, c.newCA.Crt)
	}

	c.verify("new client, old server", c.file("", c.oldCA))

	between := c.file("", c.oldCA, c.newCA.Crt)
	for _, node := range nodes() {
		change(between, node, keyOf(node), c.oldCA)
	}

	c.verify("new PKI", c.file("", c.newCA.Crt))

	for _, node := range nodes() {
		change(between, node, pki.Pair{})
	}

	c.verify("without the old CA", c.file(adminFile(), c.newCA.Crt))
	rotated(c.t, string(c.oldCA), old)
}

// TestRotateCAByAStockClient makes the calls that a v1.8 client makes, with the public modules that it is made of: the
// configuration is read as a resource in YAML, changed and applied.
func TestRotateCAByAStockClient(t *testing.T) {
	c := beginByHand(t)

	c.run(func(file, node string, ca pki.Pair, accepted ...[]byte) {
		conn := c.dial(file)
		ctx, cancel := context.WithTimeout(outside.Node(t.Context(), node), callDeadline)
		defer cancel()

		got, err := v1alpha1.NewStateClient(conn).Get(ctx, &v1alpha1.GetRequest{Namespace: "config", Type: "MachineConfigs.config.talos.dev", Id: "v1alpha1"})
		if err != nil {
			t.Fatalf("%s: %v", node, err)
		}

		data := changed(t, got.GetResource().GetSpec().GetYamlSpec(), ca, accepted)

		if _, err := machine.NewMachineServiceClient(conn).ApplyConfiguration(ctx, &machine.ApplyConfigurationRequest{
			Data: data, Mode: machine.ApplyConfigurationRequest_NO_REBOOT,
		}); err != nil {
			t.Fatalf("%s: %v", node, err)
		}
	})
}

// changed is a configuration of several documents with another CA, if there is one, and other accepted ones.
func changed(t *testing.T, text string, ca pki.Pair, accepted [][]byte) []byte {
	t.Helper()

	var out bytes.Buffer

	encoder := yaml.NewEncoder(&out)

	for decoder := yaml.NewDecoder(strings.NewReader(text)); ; {
		var document map[string]any
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}

		if machine, ok := document["machine"].(map[string]any); ok {
			encode := base64.StdEncoding.EncodeToString

			if len(ca.Crt) > 0 {
				machine["ca"] = map[string]any{"crt": encode(ca.Crt), "key": encode(ca.Key)}
			}

			list := []any{}
			for _, crt := range accepted {
				list = append(list, map[string]any{"crt": encode(crt)})
			}

			machine["acceptedCAs"] = list
		}

		if err := encoder.Encode(document); err != nil {
			t.Fatal(err)
		}
	}

	return out.Bytes()
}

// TestRotateCAByHand follows the manual steps of guide 04 with patches.
func TestRotateCAByHand(t *testing.T) {
	c := beginByHand(t)
	encode := base64.StdEncoding.EncodeToString

	c.run(func(file, node string, ca pki.Pair, accepted ...[]byte) {
		patch := "machine: {acceptedCAs: {$patch: delete}}"

		if len(accepted) > 0 {
			patch = fmt.Sprintf("machine: {acceptedCAs: [{crt: %s}]}", encode(accepted[0]))
		}

		if len(ca.Crt) > 0 {
			patch = fmt.Sprintf("machine: {ca: {crt: %s, key: %q}, acceptedCAs: [{crt: %s}]}", encode(ca.Crt), encode(ca.Key), encode(accepted[0]))
		}

		ctl(t, "--talosconfig", file, "-e", controlPlanes[0], "-n", node, "patch", "mc", "-p", patch)
	})
}
