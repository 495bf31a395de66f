package engine

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestArguments(t *testing.T) {
	s := Settings{
		Name: "cp-1", DataDir: t.TempDir(), PeerURLs: []string{"https://10.5.0.2:2380"}, ClientURLs: []string{"https://10.5.0.2:2379"},
		ExtraArgs: map[string]string{
			"quota-backend-bytes":                         "4294967296",
			"experimental-watch-progress-notify-interval": "9s",
			"experimental-initial-corrupt-check":          "false",
			"listen-metrics-urls":                         "http://0.0.0.0:2381",
			"snapshot-count":                              "5000",
		},
	}

	cfg, err := s.config(zap.NewNop(), "cp-1=https://10.5.0.2:2380", "new")
	if err != nil {
		t.Fatal(err)
	}

	if cfg.QuotaBackendBytes != 4<<30 || cfg.WatchProgressNotifyInterval != 9*time.Second || cfg.SnapshotCount != 5000 {
		t.Errorf("arguments are not in the configuration: %+v", cfg)
	}

	if len(cfg.ListenMetricsUrls) != 1 || cfg.ListenMetricsUrls[0].Host != "0.0.0.0:2381" {
		t.Errorf("metrics listener: %v", cfg.ListenMetricsUrls)
	}

	if cfg.ServerFeatureGate.Enabled("InitialCorruptCheck") || !cfg.ServerFeatureGate.Enabled("CompactHashCheck") {
		t.Error("feature gates do not follow the arguments")
	}

	if cfg.EnableGRPCGateway || !cfg.ClientTLSInfo.ClientCertAuth || !cfg.PeerTLSInfo.ClientCertAuth {
		t.Error("defaults were lost to etcd's flags")
	}

	if err = cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestArgumentErrors(t *testing.T) {
	for name, test := range map[string]struct{ value, want string }{
		"quota-backend-byte":                 {"1", `etcd argument "quota-backend-byte" is not known`},
		"quota-backend-bytes":                {"4GiB", `etcd argument quota-backend-bytes="4GiB": parse error`},
		"data-dir":                           {"/tmp", `etcd argument "data-dir" is not for the configuration to set`},
		"experimental-initial-corrupt-check": {"maybe", `want true or false, not "maybe"`},
		"feature-gates":                      {"Nothing=true", "etcd feature gates"},
	} {
		if err := CheckArgs(map[string]string{name: test.value}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s=%s: %v, want %q", name, test.value, err, test.want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	a := Settings{Name: "a", ExtraArgs: map[string]string{"x": "1", "y": "2", "z": "3"}}
	b := Settings{Name: "a", ExtraArgs: map[string]string{"z": "3", "y": "2", "x": "1"}}

	if a.Fingerprint() != b.Fingerprint() {
		t.Error("equal settings differ")
	}

	if b.CA = "other"; a.Fingerprint() == b.Fingerprint() {
		t.Error("another CA does not show")
	}
}
