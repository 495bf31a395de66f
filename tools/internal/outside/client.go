package outside

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
)

// retryPolicy is a client's default retry: five attempts on UNAVAILABLE.
const retryPolicy = `{"methodConfig":[{"name":[{}],"waitForReady":true,"retryPolicy":{
	"maxAttempts":5,"initialBackoff":"0.1s","maxBackoff":"1s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// AdminTLS reads the active context of ~/.dactyl/config, as any v1.8 client would.
func AdminTLS() (*tls.Config, error) {
	raw, err := os.ReadFile(filepath.Join(os.Getenv("HOME"), ".dactyl", "config"))
	if err != nil {
		return nil, err
	}
	var file struct {
		Context  string `yaml:"context"`
		Contexts map[string]struct {
			CA  string `yaml:"ca"`
			Crt string `yaml:"crt"`
			Key string `yaml:"key"`
		} `yaml:"contexts"`
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	active := file.Contexts[file.Context]
	ca, err1 := base64.StdEncoding.DecodeString(active.CA)
	crt, err2 := base64.StdEncoding.DecodeString(active.Crt)
	key, err3 := base64.StdEncoding.DecodeString(active.Key)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("context %q: %w", file.Context, err)
	}
	pair, err := tls.X509KeyPair(crt, []byte(strings.ReplaceAll(string(key), "ED25519 PRIVATE KEY", "PRIVATE KEY")))
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", file.Context, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("context %q has no CA", file.Context)
	}

	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// Dial connects to the gateway at an address as the admin, with the default retry of a client or with none at all.
func Dial(address string, retry bool) (*grpc.ClientConn, error) {
	config, err := AdminTLS()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithDisableRetry()}
	if retry {
		options[1] = grpc.WithDefaultServiceConfig(retryPolicy)
	}

	return grpc.NewClient(address+":50000", options...)
}

// Node addresses a call to exactly one node.
func Node(ctx context.Context, address string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "node", address)
}
