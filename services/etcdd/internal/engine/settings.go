// Package engine is the only one that touches etcd: it starts and stops the embedded server, speaks to the clusters of
// other nodes and keeps the data directory.
package engine

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/pkg/v3/flags"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Ports of the contract.
const (
	ClientPort = 2379
	PeerPort   = 2380
)

const (
	// maxLearners lets two control plane nodes join at once; it must be the same on every member.
	maxLearners = 3
	// quotaBytes is the database size at which etcd raises NOSPACE (guide 09).
	quotaBytes = 2 << 30
	// progressNotify keeps the watch caches of Kubernetes API servers fresh on idle keys.
	progressNotify = 5 * time.Second
)

// Settings is everything that a start of the member depends on. Two equal values need no restart.
type Settings struct {
	Name         string
	DataDir      string
	ListenPeer   []string // URLs, as below
	ListenClient []string
	PeerURLs     []string // advertised
	ClientURLs   []string
	Keys         Keys
	// CA is the fingerprint of the CA file: leaf certificates are read again at every handshake, the CA only at start.
	CA        string
	ExtraArgs map[string]string
}

// Fingerprint tells whether a running member must be restarted.
func (s Settings) Fingerprint() string { return fmt.Sprintf("%#v", s) } // maps print sorted

// Keys are paths of PEM files.
type Keys struct {
	CA                    string
	ServerCert, ServerKey string
	PeerCert, PeerKey     string
	AdminCert, AdminKey   string
}

// reserved arguments are etcdd's own: the address, place, identity and trust of the member.
var reserved = []string{
	"name", "data-dir", "wal-dir", "initial-cluster", "initial-cluster-state", "initial-cluster-token", "force-new-cluster",
	"listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "initial-advertise-peer-urls", "advertise-client-urls",
	"cert-file", "key-file", "client-cert-auth", "trusted-ca-file", "auto-tls",
	"peer-cert-file", "peer-key-file", "peer-client-cert-auth", "peer-trusted-ca-file", "peer-auto-tls",
	"max-learners", "logger", "log-outputs", "log-format", "enable-log-rotation", "log-rotation-config-json",
}

// renamed maps arguments that configurations written for etcd 3.5 use to what 3.6 calls them.
var renamed = map[string]string{
	"experimental-corrupt-check-time":                   "corrupt-check-time",
	"experimental-compact-hash-check-time":              "compact-hash-check-time",
	"experimental-compaction-batch-limit":               "compaction-batch-limit",
	"experimental-compaction-sleep-interval":            "compaction-sleep-interval",
	"experimental-watch-progress-notify-interval":       "watch-progress-notify-interval",
	"experimental-downgrade-check-time":                 "downgrade-check-time",
	"experimental-warning-apply-duration":               "warning-apply-duration",
	"experimental-warning-unary-request-duration":       "warning-unary-request-duration",
	"experimental-bootstrap-defrag-threshold-megabytes": "bootstrap-defrag-threshold-megabytes",
	"experimental-memory-mlock":                         "memory-mlock",
	"experimental-snapshot-catchup-entries":             "snapshot-catchup-entries",
	"experimental-peer-skip-client-san-verification":    "peer-skip-client-san-verification",
}

// gates maps 3.5's experimental switches to feature gates.
var gates = map[string]string{
	"experimental-initial-corrupt-check":             "InitialCorruptCheck",
	"experimental-compact-hash-check-enabled":        "CompactHashCheck",
	"experimental-enable-lease-checkpoint":           "LeaseCheckpoint",
	"experimental-enable-lease-checkpoint-persist":   "LeaseCheckpointPersist",
	"experimental-stop-grpc-service-on-defrag":       "StopGRPCServiceOnDefrag",
	"experimental-txn-mode-write-with-shared-buffer": "TxnModeWriteWithSharedBuffer",
}

// CheckArgs reports an argument that etcd does not know, cannot read, or that is not the configuration's to set. It sets the
// timeouts of raft's connections also for a member that runs: check only arguments that are new.
func CheckArgs(args map[string]string) error {
	cfg := embed.NewConfig()
	_, err := parseArgs(cfg, args)

	return err
}

// config is the embedded server's configuration. cluster is empty for a member that has data.
func (s Settings) config(log *zap.Logger, cluster, state string) (*embed.Config, error) {
	cfg := embed.NewConfig()
	// The gateway to JSON and the metrics and pprof pages cost memory; nothing on the node asks for them.
	cfg.EnableGRPCGateway = false
	cfg.QuotaBackendBytes = quotaBytes
	cfg.WatchProgressNotifyInterval = progressNotify

	set, err := parseArgs(cfg, s.ExtraArgs)
	if err != nil {
		return nil, err
	}

	if err = applyListArgs(cfg, set); err != nil {
		return nil, err
	}

	cfg.Name, cfg.Dir, cfg.WalDir = s.Name, s.DataDir, ""
	cfg.InitialCluster, cfg.ClusterState = cluster, state
	cfg.MaxLearners = maxLearners
	cfg.ClientTLSInfo = s.tls(cfg.ClientTLSInfo, s.Keys.ServerCert, s.Keys.ServerKey)
	cfg.PeerTLSInfo = s.tls(cfg.PeerTLSInfo, s.Keys.PeerCert, s.Keys.PeerKey)
	// A node with several addresses may dial from one that its certificate does not name.
	cfg.PeerTLSInfo.SkipClientSANVerify = true
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)

	return cfg, s.urls(cfg)
}

func (s Settings) urls(cfg *embed.Config) error {
	for _, list := range []struct {
		into *[]url.URL
		from []string
	}{
		{&cfg.ListenPeerUrls, s.ListenPeer}, {&cfg.ListenClientUrls, s.ListenClient},
		{&cfg.AdvertisePeerUrls, s.PeerURLs}, {&cfg.AdvertiseClientUrls, s.ClientURLs},
	} {
		*list.into = nil

		for _, text := range list.from {
			u, err := url.Parse(text)
			if err != nil {
				return fmt.Errorf("etcd address: %w", err)
			}

			*list.into = append(*list.into, *u)
		}
	}

	return nil
}

func (s Settings) tls(info transport.TLSInfo, cert, key string) transport.TLSInfo {
	info.CertFile, info.KeyFile = cert, key
	info.TrustedCAFile, info.ClientCertAuth = s.Keys.CA, true

	return info
}

// parsing lets one parse at a time write the package variables that etcd binds two of its flags to (raft-read-timeout,
// raft-write-timeout).
var parsing sync.Mutex

func parseArgs(cfg *embed.Config, args map[string]string) (*flag.FlagSet, error) {
	parsing.Lock()
	defer parsing.Unlock()

	set := flag.NewFlagSet("etcd", flag.ContinueOnError)
	set.SetOutput(io.Discard)

	keep := *cfg
	cfg.AddFlags(set) // resets some fields to etcd's own defaults
	cfg.EnableGRPCGateway = keep.EnableGRPCGateway

	features := []string{"InitialCorruptCheck=true", "CompactHashCheck=true"}

	for _, name := range sortedKeys(args) {
		value := args[name]

		if slices.Contains(reserved, name) {
			return nil, fmt.Errorf("etcd argument %q is not for the configuration to set", name)
		}

		if gate, ok := gates[name]; ok {
			on, err := strconv.ParseBool(value)
			if err != nil {
				return nil, fmt.Errorf("etcd argument %s: want true or false, not %q", name, value)
			}

			features = append(features, fmt.Sprintf("%s=%t", gate, on))

			continue
		}

		if name == "feature-gates" {
			features = append(features, value)

			continue
		}

		if now, ok := renamed[name]; ok {
			name = now
		}

		if set.Lookup(name) == nil {
			return nil, fmt.Errorf("etcd argument %q is not known", name)
		}

		if err := set.Set(name, value); err != nil {
			return nil, fmt.Errorf("etcd argument %s=%q: %w", name, value, err)
		}
	}

	if err := set.Set("feature-gates", strings.Join(features, ",")); err != nil {
		return nil, fmt.Errorf("etcd feature gates: %w", err)
	}

	return set, nil
}

// applyListArgs copies what AddFlags registers without binding it to the configuration.
func applyListArgs(cfg *embed.Config, set *flag.FlagSet) error {
	var err error

	set.Visit(func(f *flag.Flag) {
		cfg.FlagsExplicitlySet[f.Name] = true

		switch f.Name {
		case "listen-metrics-urls":
			cfg.ListenMetricsUrls = flags.UniqueURLsFromFlag(set, f.Name)
		case "cors":
			cfg.CORS = flags.UniqueURLsMapFromFlag(set, f.Name)
		case "host-whitelist":
			cfg.HostWhitelist = flags.UniqueStringsMapFromFlag(set, f.Name)
		case "cipher-suites":
			cfg.CipherSuites = flags.StringsFromFlag(set, f.Name)
		case "max-concurrent-streams":
			cfg.MaxConcurrentStreams = flags.Uint32FromFlag(set, f.Name)
		case "client-cert-allowed-hostname":
			cfg.ClientTLSInfo.AllowedHostnames = flags.StringsFromFlag(set, f.Name)
		case "peer-cert-allowed-hostname":
			cfg.PeerTLSInfo.AllowedHostnames = flags.StringsFromFlag(set, f.Name)
		case "peer-cert-allowed-cn":
			cfg.PeerTLSInfo.AllowedCNs = flags.StringsFromFlag(set, f.Name)
		case "discovery-endpoints":
			err = fmt.Errorf("etcd argument %q is not for the configuration to set", f.Name)
		}
	})

	return err
}

// URL of an address and port.
func URL(host string, port int) string {
	return "https://" + net.JoinHostPort(host, strconv.Itoa(port))
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}

	slices.Sort(keys)

	return keys
}
