package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"
)

// askTimeout bounds one question to one node: a linearizable answer takes an election at most.
const askTimeout = 3 * time.Second

// Remote reaches the cluster through other control plane nodes, with the admin certificate.
type Remote struct {
	Keys Keys
}

// Members asks one node after the other for the member list of its cluster.
func (r Remote) Members(ctx context.Context, nodes []netip.Addr) ([]plan.Member, error) {
	var list []plan.Member

	err := r.any(ctx, nodes, func(ctx context.Context, c pb.ClusterClient) error {
		answer, err := c.MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
		if err == nil {
			list = members(answer.Members)
		}

		return err
	})

	return list, err
}

// AddLearner puts this node on the member list, without a vote.
func (r Remote) AddLearner(ctx context.Context, nodes []netip.Addr, urls []string) (uint64, error) {
	var id uint64

	err := r.any(ctx, nodes, func(ctx context.Context, c pb.ClusterClient) error {
		answer, err := c.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: urls, IsLearner: true})
		if err == nil {
			id = answer.Member.ID
		}

		return err
	})

	return id, err
}

// Remove takes a member off the list.
func (r Remote) Remove(ctx context.Context, nodes []netip.Addr, id uint64) error {
	return r.any(ctx, nodes, func(ctx context.Context, c pb.ClusterClient) error {
		_, err := c.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: id})

		return err
	})
}

func (r Remote) any(ctx context.Context, nodes []netip.Addr, call func(context.Context, pb.ClusterClient) error) error {
	config, err := r.Keys.clientTLS()
	if err != nil {
		return err
	}

	var answers []string

	for _, node := range nodes {
		if err = r.one(ctx, node, config, call); err == nil {
			return nil
		}

		answers = append(answers, node.String()+": "+sentence(err))
	}

	return errors.New(strings.Join(answers, "; "))
}

// sentence is what gRPC's error is about, without its wrapping.
func sentence(err error) string {
	message := status.Convert(err).Message()
	if _, inner, ok := strings.Cut(message, "Error while dialing: "); ok {
		return strings.Trim(inner, `"`)
	}

	return message
}

func (r Remote) one(ctx context.Context, node netip.Addr, config *tls.Config, call func(context.Context, pb.ClusterClient) error) error {
	target := net.JoinHostPort(node.String(), strconv.Itoa(ClientPort))

	conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		return fmt.Errorf("dial etcd: %w", err)
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	return call(ctx, pb.NewClusterClient(conn))
}

func (k Keys) clientTLS() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(k.AdminCert, k.AdminKey)
	if err != nil {
		return nil, fmt.Errorf("load etcd admin certificate: %w", err)
	}

	ca, err := os.ReadFile(k.CA)
	if err != nil {
		return nil, fmt.Errorf("read etcd CA: %w", err)
	}

	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("read etcd CA: no certificate in %s", k.CA)
	}

	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func members(list []*pb.Member) []plan.Member {
	out := make([]plan.Member, 0, len(list))
	for _, m := range list {
		out = append(out, plan.Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, Learner: m.IsLearner})
	}

	return out
}
