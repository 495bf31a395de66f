package keeper_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/keeper"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

const nodeEnv = "ETCDD_TEST_NODE"

// TestMain lets the test binary be a node: a process that can be killed.
func TestMain(m *testing.M) {
	if spec := os.Getenv(nodeEnv); spec != "" {
		runNode(spec)

		return
	}

	// Nodes wait for each other most of the time: more tests at once than there are processors.
	flag.Parse()

	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}

	os.Exit(m.Run())
}

type nodeSpec struct {
	Input     keeper.Input
	Bootstrap bool
	ByHand    bool
	Suspect   bool
	// LeaveEarly: it leaves as soon as it is a learner.
	LeaveEarly bool
	// Recover is a snapshot to bootstrap with.
	Recover string
}

func runNode(path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}

	var spec nodeSpec
	if err = json.Unmarshal(data, &spec); err != nil {
		panic(err)
	}

	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	k := keeper.New(log, func(s keeper.Status) {
		log.Info("status", "message", s.Message, "ready", s.Ready, "learner", s.Learner, "failed", s.Failed)
	})
	k.Set(spec.Input)

	if spec.ByHand {
		k.ByHand()
	}

	if spec.Suspect {
		k.Suspect()
	}

	go leaveOn(syscall.SIGUSR1, k, log)

	if spec.LeaveEarly {
		go leaveAsLearner(k, log)
	}

	if spec.Bootstrap {
		if err = bootstrap(k, spec.Recover); err != nil {
			log.Error("bootstrap", "error", err)
		}
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()

	if err = k.Run(ctx); err != nil {
		panic(err)
	}
}

func bootstrap(k *keeper.Keeper, from string) error {
	ctx := context.Background()
	if from == "" {
		return k.Bootstrap(ctx)
	}

	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}

	if err = k.Upload(ctx, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
		return err
	}

	_, err = k.Recover(ctx, false)

	return err
}

func leaveOn(sig os.Signal, k *keeper.Keeper, log *slog.Logger) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, sig)

	for range asked {
		log.Info("leave", "error", k.Leave(context.Background()))
	}
}

func leaveAsLearner(k *keeper.Keeper, log *slog.Logger) {
	for m := k.Member(); m == nil || !m.IsLearner() && !k.Status().Ready; m = k.Member() {
		time.Sleep(time.Millisecond)
	}

	log.Info("leave", "error", k.Leave(context.Background()))
}

type cluster struct {
	t     *testing.T
	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey
	net   [2]byte
	nodes []*node
	// learners counts members that had no vote when they left.
	learners int
}

type node struct {
	c    *cluster
	name string
	addr netip.Addr
	dir  string
	spec nodeSpec
	cmd  *exec.Cmd
	log  kittest.Buffer
	done chan struct{} // closed when cmd has ended
	// before is what the node is started with: "nsenter …".
	before []string
}

// newCluster gives each node an address of its own on the loopback network, so that all use the real ports.
func newCluster(t *testing.T, size int) *cluster {
	t.Helper()

	c := &cluster{t: t, net: [2]byte{byte(64 + mrand.IntN(128)), byte(mrand.IntN(256))}}
	c.makeCA()

	for i := range size {
		n := &node{
			c: c, name: fmt.Sprintf("cp-%d", i+1), addr: netip.AddrFrom4([4]byte{127, c.net[0], c.net[1], byte(i + 1)}),
			dir: t.TempDir(),
		}
		n.prepare()
		c.nodes = append(c.nodes, n)
	}

	for _, n := range c.nodes {
		for _, other := range c.nodes {
			if other != n {
				n.spec.Input.Peers = append(n.spec.Input.Peers, other.addr)
			}
		}
	}

	t.Cleanup(func() {
		c.end()

		for _, n := range c.nodes {
			if t.Failed() {
				t.Logf("%s:\n%s", n.name, n.log.String())
			}
		}
	})

	return c
}

func (c *cluster) end() {
	for _, n := range c.nodes {
		n.kill()
	}
}

func (n *node) prepare() {
	keys := engine.Keys{CA: filepath.Join(n.dir, "ca.crt")}
	keys.ServerCert, keys.ServerKey = n.issue("server")
	keys.PeerCert, keys.PeerKey = n.issue("peer")
	keys.AdminCert, keys.AdminKey = n.issue("admin")
	n.c.write(keys.CA, "CERTIFICATE", n.c.ca.Raw)

	client, peer := engine.URL(n.addr.String(), engine.ClientPort), engine.URL(n.addr.String(), engine.PeerPort)
	n.spec.Input.ControlPlane = true
	n.spec.Input.Settings = engine.Settings{
		Name: n.name, DataDir: filepath.Join(n.dir, "etcd"), Keys: keys,
		ListenPeer: []string{peer}, PeerURLs: []string{peer}, ListenClient: []string{client}, ClientURLs: []string{client},
	}
}

func (n *node) start(bootstrap bool) {
	n.c.t.Helper()
	n.spec.Bootstrap = bootstrap

	data, err := json.Marshal(n.spec)
	if err != nil {
		n.c.t.Fatal(err)
	}

	path := filepath.Join(n.dir, "node.json")
	if err = os.WriteFile(path, data, 0o600); err != nil {
		n.c.t.Fatal(err)
	}

	args := append(slices.Clone(n.before), os.Args[0])
	n.cmd = exec.Command(args[0], args[1:]...)
	n.cmd.Env = append(os.Environ(), nodeEnv+"="+path)
	n.cmd.Stdout, n.cmd.Stderr = &n.log, &n.log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	if err = n.cmd.Start(); err != nil {
		n.c.t.Fatal(err)
	}

	cmd, done := n.cmd, make(chan struct{})
	n.done = done

	go func() {
		cmd.Wait() //nolint:errcheck // it was killed, or crashed as it should
		close(done)
	}()
}

// ended is closed when the node's process has.
func (n *node) ended() <-chan struct{} { return n.done }

func (n *node) kill() { n.end(syscall.SIGKILL) }

func (n *node) end(sig syscall.Signal) {
	if n.cmd != nil {
		n.cmd.Process.Signal(sig) //nolint:errcheck // it may have ended
		<-n.done
		n.cmd = nil
	}
}

// client is an outside one: TLS to port 2379 with the admin certificate.
func (n *node) client() *clientv3.Client {
	n.c.t.Helper()

	keys := n.spec.Input.Settings.Keys

	cert, err := tls.LoadX509KeyPair(keys.AdminCert, keys.AdminKey)
	if err != nil {
		n.c.t.Fatal(err)
	}

	pool := x509.NewCertPool()
	pool.AddCert(n.c.ca)

	c, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{engine.URL(n.addr.String(), engine.ClientPort)},
		TLS:         &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool},
		DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		n.c.t.Fatal(err)
	}

	n.c.t.Cleanup(func() { c.Close() })

	return c
}

// await polls until cond holds.
func (c *cluster) await(what string, limit time.Duration, cond func(ctx context.Context) error) {
	c.t.Helper()

	var err error

	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err = cond(ctx)

		cancel()

		if err == nil {
			return
		}
	}

	c.t.Fatalf("%s: %v", what, err)
}

// awaitVoters waits until n's member list is exactly that many members, all with a vote.
func (c *cluster) awaitVoters(n *node, count int) map[uint64]string {
	c.t.Helper()

	client := n.client()
	names := map[uint64]string{}

	c.await(fmt.Sprintf("%d voters on %s", count, n.name), 60*time.Second, func(ctx context.Context) error {
		answer, err := client.MemberList(ctx)
		if err != nil {
			return err
		}

		clear(names)

		for _, m := range answer.Members {
			if m.IsLearner || m.Name == "" {
				return fmt.Errorf("%x %q learner=%t", m.ID, m.Name, m.IsLearner)
			}

			names[m.ID] = m.Name
		}

		if len(names) != count {
			return fmt.Errorf("%d members", len(names))
		}

		return nil
	})

	return names
}

func (c *cluster) makeCA() {
	var err error
	if c.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		c.t.Fatal(err)
	}

	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}

	der, err := x509.CreateCertificate(rand.Reader, template, template, c.caKey.Public(), c.caKey)
	if err != nil {
		c.t.Fatal(err)
	}

	if c.ca, err = x509.ParseCertificate(der); err != nil {
		c.t.Fatal(err)
	}
}

func (n *node) issue(name string) (cert, key string) {
	c := n.c

	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}

	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{n.addr.AsSlice()},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}

	der, err := x509.CreateCertificate(rand.Reader, template, c.ca, private.Public(), c.caKey)
	if err != nil {
		c.t.Fatal(err)
	}

	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		c.t.Fatal(err)
	}

	cert, key = filepath.Join(n.dir, name+".crt"), filepath.Join(n.dir, name+".key")
	c.write(cert, "CERTIFICATE", der)
	c.write(key, "EC PRIVATE KEY", keyDER)

	return cert, key
}

func (c *cluster) write(path, kind string, der []byte) {
	c.t.Helper()

	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		c.t.Fatal(err)
	}
}
