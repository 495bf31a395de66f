package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// netstatFlags are what sockets are listed, and what is told of them.
type netstatFlags struct {
	all, listening, v4, v6          bool
	tcp, udp, udplite, raw, verbose bool
	extend, programs, timers, pods  bool
}

func (a *app) netstatCommand() *cobra.Command {
	var f netstatFlags
	cmd := &cobra.Command{
		Use: "netstat", Short: "List sockets of a node", Args: cobra.NoArgs,
		Long:    "List sockets of a node: those with a peer, of TCP, UDP, UDP-Lite and raw ones, unless flags say otherwise.",
		Example: "  dactylctl -n 10.5.0.2 netstat -lp\n  dactylctl -n 10.5.0.2,10.5.0.3 netstat -at4",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, func(ctx context.Context, c *client.Client) error {
				answer, err := c.Machine.Netstat(ctx, f.request())
				if err != nil {
					return err
				}
				t := newTable(a.out, f.header()...)
				err = client.Each(c, answer.GetMessages(), func(node string, m *machine.Netstat) error {
					for _, r := range m.GetConnectrecord() {
						t.add(f.row(node, r))
					}

					return nil
				})
				if e := t.flush(); e != nil {
					return e
				}

				return err
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.all, "all", "a", false, "sockets with a peer and those that listen")
	flags.BoolVarP(&f.listening, "listening", "l", false, "sockets that listen")
	flags.BoolVarP(&f.v4, "ipv4", "4", false, "IPv4 only")
	flags.BoolVarP(&f.v6, "ipv6", "6", false, "IPv6 only")
	flags.BoolVarP(&f.tcp, "tcp", "t", false, "TCP")
	flags.BoolVarP(&f.udp, "udp", "u", false, "UDP")
	flags.BoolVarP(&f.udplite, "udplite", "U", false, "UDP-Lite")
	flags.BoolVarP(&f.raw, "raw", "w", false, "raw sockets")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "every protocol, whatever the other flags")
	flags.BoolVarP(&f.extend, "extend", "x", false, "tell user and inode")
	flags.BoolVarP(&f.programs, "programs", "p", false, "tell process and program")
	flags.BoolVarP(&f.timers, "timers", "o", false, "tell timers")
	flags.BoolVarP(&f.pods, "pods", "k", false, "sockets of Kubernetes pods, too")

	return cmd
}

func (f *netstatFlags) request() *machine.NetstatRequest {
	req := &machine.NetstatRequest{
		Filter: machine.NetstatRequest_CONNECTED, Feature: &machine.NetstatRequest_Feature{Pid: f.programs},
		Netns: &machine.NetstatRequest_NetNS{Hostnetwork: true, Allnetns: f.pods},
	}
	switch {
	case f.all:
		req.Filter = machine.NetstatRequest_ALL
	case f.listening:
		req.Filter = machine.NetstatRequest_LISTENING
	}
	every := f.verbose || !f.tcp && !f.udp && !f.udplite && !f.raw
	v4, v6 := f.v4 || !f.v6, f.v6 || !f.v4
	of := func(asked, family bool) bool { return family && (every || asked) }
	req.L4Proto = &machine.NetstatRequest_L4Proto{
		Tcp: of(f.tcp, v4), Tcp6: of(f.tcp, v6), Udp: of(f.udp, v4), Udp6: of(f.udp, v6),
		Udplite: of(f.udplite, v4), Udplite6: of(f.udplite, v6), Raw: of(f.raw, v4), Raw6: of(f.raw, v6),
	}

	return req
}

func (f *netstatFlags) header() []string {
	header := []string{"NODE", "Proto", "Recv-Q", "Send-Q", "Local Address", "Foreign Address", "State"}
	for _, column := range []struct {
		shown bool
		names []string
	}{{f.extend, []string{"Uid", "Inode"}}, {f.programs, []string{"PID/Program name"}}, {f.pods, []string{"Network namespace"}}, {f.timers, []string{"Timer"}}} {
		if column.shown {
			header = append(header, column.names...)
		}
	}

	return header
}

func (f *netstatFlags) row(node string, r *machine.ConnectRecord) []string {
	row := []string{
		node, r.GetL4Proto(), strconv.FormatUint(r.GetRxqueue(), 10), strconv.FormatUint(r.GetTxqueue(), 10),
		socketAddress(r.GetLocalip(), r.GetLocalport()), socketAddress(r.GetRemoteip(), r.GetRemoteport()), socketState(r),
	}
	if f.extend {
		row = append(row, strconv.FormatUint(uint64(r.GetUid()), 10), strconv.FormatUint(r.GetInode(), 10))
	}
	if f.programs {
		program := "-" // nobody's, or one that has ended
		if p := r.GetProcess(); p.GetPid() != 0 {
			program = fmt.Sprintf("%d/%s", p.GetPid(), p.GetName())
		}
		row = append(row, program)
	}
	if f.pods {
		row = append(row, orDash(r.GetNetns()))
	}
	if f.timers {
		row = append(row, fmt.Sprintf("%s (%.2f/%d/%d)", strings.ToLower(r.GetTr().String()), float64(r.GetTimerwhen())/100, r.GetRetrnsmt(), r.GetTimeout()))
	}

	return row
}

// socketAddress is host:port; no port is a star, as everybody's netstat has it.
func socketAddress(ip string, port uint32) string {
	if port == 0 {
		return net.JoinHostPort(ip, "*")
	}

	return net.JoinHostPort(ip, strconv.FormatUint(uint64(port), 10))
}

// socketState has a meaning for TCP, and for others only when there is a peer.
func socketState(r *machine.ConnectRecord) string {
	if !strings.HasPrefix(r.GetL4Proto(), "tcp") && r.GetState() != machine.ConnectRecord_ESTABLISHED {
		return ""
	}
	switch r.GetState() {
	case machine.ConnectRecord_CLOSEWAIT:
		return "CLOSE_WAIT"
	case machine.ConnectRecord_LASTACK:
		return "LAST_ACK"
	}

	return r.GetState().String()
}
