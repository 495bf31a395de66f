package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/etcdsnapshot"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// rejoinTimeout is how long a member may take to get some GB from another.
const rejoinTimeout = 5 * time.Minute

func (a *app) etcdCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "etcd", Short: "Manage etcd", Example: "  dactylctl -n 10.5.0.2 etcd members\n  dactylctl -n 10.5.0.2,10.5.0.3,10.5.0.4 etcd status"}
	alarm := &cobra.Command{Use: "alarm", Short: "List and disarm etcd alarms", Example: "  dactylctl -n 10.5.0.2 etcd alarm list"}
	alarm.AddCommand(a.etcdAlarmListCommand(), a.etcdAlarmDisarmCommand())
	cmd.AddCommand(alarm, a.etcdMembersCommand(), a.etcdStatusCommand(), a.etcdDefragCommand(), a.etcdSnapshotCommand(),
		a.etcdForfeitCommand(), a.etcdLeaveCommand(), a.etcdRejoinCommand(), a.etcdRemoveCommand())

	return cmd
}

func (a *app) etcdMembersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "members", Short: "List the members of etcd", Args: cobra.NoArgs, Example: "  dactylctl -n 10.5.0.2 etcd members",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tabled(a, cmd, []string{"NODE", "ID", "HOSTNAME", "PEER URLS", "CLIENT URLS", "LEARNER"},
				func(ctx context.Context, c *client.Client) ([]*machine.EtcdMembers, error) {
					answer, err := c.Machine.EtcdMemberList(ctx, &machine.EtcdMemberListRequest{})

					return answer.GetMessages(), err
				},
				func(t *table, node string, m *machine.EtcdMembers) {
					for _, e := range m.GetMembers() {
						t.row(node, memberID(e.GetId()), e.GetHostname(), strings.Join(e.GetPeerUrls(), ","), strings.Join(e.GetClientUrls(), ","), e.GetIsLearner())
					}
				})
		},
	}
}

func memberID(id uint64) string { return fmt.Sprintf("%016x", id) }

func (a *app) etcdStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the state of etcd on nodes", Args: cobra.NoArgs, Example: "  dactylctl -n 10.5.0.2,10.5.0.3,10.5.0.4 etcd status",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tabled(a, cmd, []string{"NODE", "MEMBER", "DB SIZE", "IN USE", "LEADER", "RAFT INDEX", "RAFT TERM", "RAFT APPLIED INDEX", "LEARNER", "ERRORS"},
				func(ctx context.Context, c *client.Client) ([]*machine.EtcdStatus, error) {
					answer, err := c.Machine.EtcdStatus(ctx, &emptypb.Empty{})

					return answer.GetMessages(), err
				}, etcdStatusRow)
		},
	}
}

func etcdStatusRow(t *table, node string, m *machine.EtcdStatus) {
	s := m.GetMemberStatus()
	percent := 0.0
	if s.GetDbSize() > 0 {
		percent = 100 * float64(s.GetDbSizeInUse()) / float64(s.GetDbSize())
	}
	t.row(node, memberID(s.GetMemberId()), humanBytes(uint64(s.GetDbSize())), fmt.Sprintf("%s (%.2f%%)", humanBytes(uint64(s.GetDbSizeInUse())), percent),
		memberID(s.GetLeader()), s.GetRaftIndex(), s.GetRaftTerm(), s.GetRaftAppliedIndex(), s.GetIsLearner(), strings.Join(s.GetErrors(), ", "))
}

func (a *app) etcdAlarmListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the alarms", Args: cobra.NoArgs, Example: "  dactylctl -n 10.5.0.2 etcd alarm list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tabled(a, cmd, []string{"NODE", "MEMBER", "ALARM"},
				func(ctx context.Context, c *client.Client) ([]*machine.EtcdAlarm, error) {
					answer, err := c.Machine.EtcdAlarmList(ctx, &emptypb.Empty{})

					return answer.GetMessages(), err
				}, func(t *table, node string, m *machine.EtcdAlarm) { alarmRows(t, node, m.GetMemberAlarms()) })
		},
	}
}

func (a *app) etcdAlarmDisarmCommand() *cobra.Command {
	return &cobra.Command{
		Use: "disarm", Short: "Disarm the alarms", Args: cobra.NoArgs, Example: "  dactylctl -n 10.5.0.2 etcd alarm disarm",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tabled(a, cmd, []string{"NODE", "MEMBER", "ALARM"},
				func(ctx context.Context, c *client.Client) ([]*machine.EtcdAlarmDisarm, error) {
					answer, err := c.Machine.EtcdAlarmDisarm(ctx, &emptypb.Empty{})

					return answer.GetMessages(), err
				}, func(t *table, node string, m *machine.EtcdAlarmDisarm) { alarmRows(t, node, m.GetMemberAlarms()) })
		},
	}
}

func alarmRows(t *table, node string, alarms []*machine.EtcdMemberAlarm) {
	for _, alarm := range alarms {
		t.row(node, memberID(alarm.GetMemberId()), alarm.GetAlarm())
	}
}

func (a *app) etcdDefragCommand() *cobra.Command {
	return &cobra.Command{
		Use: "defrag", Short: "Give the unused space of etcd's database back (stops the member for a moment)", Args: cobra.NoArgs, Example: "  dactylctl -n 10.5.0.2 etcd defrag",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error {
				answer, err := c.Machine.EtcdDefragment(ctx, &emptypb.Empty{})

				return finish(c, answer.GetMessages(), err)
			})
		},
	}
}

// finish is the end of a call whose answer says nothing.
func finish[M client.Answer](c *client.Client, messages []M, err error) error {
	if err != nil {
		return err
	}

	return client.Each(c, messages, func(string, M) error { return nil })
}

func (a *app) etcdLeaveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "leave", Short: "Make the node's member leave etcd", Args: cobra.NoArgs, Example: "  dactylctl -n 10.5.0.4 etcd leave",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error {
				answer, err := c.Machine.EtcdLeaveCluster(ctx, &machine.EtcdLeaveClusterRequest{})

				return finish(c, answer.GetMessages(), err)
			})
		},
	}
}

func (a *app) etcdRejoinCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rejoin", Short: "Have the other members give the node its data anew, for one whose data is damaged",
		Long: "Make the node's member leave etcd, running or not, remove its data, and join again as a new member that gets its data from the others.\n" +
			"Refused when the others would have no majority without it, and for the only member.",
		Args: cobra.NoArgs, Example: "  dactylctl -n 10.5.0.4 etcd rejoin",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, node string) error {
				left, err := c.Machine.EtcdLeaveCluster(ctx, &machine.EtcdLeaveClusterRequest{})
				if err := finish(c, left.GetMessages(), err); err != nil {
					return err
				}
				fmt.Fprintf(a.out, "%s left etcd, its data is removed\n", node)
				// A node that left joins again when etcd is started by hand.
				again, err := c.Machine.ServiceRestart(ctx, &machine.ServiceRestartRequest{Id: "etcdd"})
				if err := finish(c, again.GetMessages(), err); err != nil {
					return fmt.Errorf("%w (to go on: service etcdd restart)", err)
				}
				id, err := awaitVoter(ctx, c)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "%s is member %s of etcd\n", node, memberID(id))

				return nil
			})
		},
	}
}

// awaitVoter waits until the node's member has its data and a vote.
func awaitVoter(ctx context.Context, c *client.Client) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, rejoinTimeout)
	defer cancel()
	for {
		answer, err := c.Machine.EtcdStatus(ctx, &emptypb.Empty{})
		for _, m := range answer.GetMessages() {
			if s := m.GetMemberStatus(); m.GetMetadata().GetError() == "" && s.GetLeader() != 0 && !s.GetIsLearner() {
				return s.GetMemberId(), nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("the member has no vote after %s (see: service etcd): %w", rejoinTimeout, errors.Join(err, ctx.Err()))
		case <-time.After(time.Second / 2):
		}
	}
}

func (a *app) etcdForfeitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "forfeit-leadership", Short: "Hand etcd's leadership to another member", Args: cobra.NoArgs, Example: "  dactylctl -n 10.5.0.2 etcd forfeit-leadership",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error {
				answer, err := c.Machine.EtcdForfeitLeadership(ctx, &machine.EtcdForfeitLeadershipRequest{})

				return finish(c, answer.GetMessages(), err)
			})
		},
	}
}

func (a *app) etcdRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove-member <member ID>", Short: "Remove a member from etcd, for one that is lost", Args: cobra.ExactArgs(1), Example: "  dactylctl -n 10.5.0.2 etcd remove-member a49c021e76e707db",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseUint(args[0], 16, 64)
			if err != nil {
				return fmt.Errorf("%q is not a member ID: etcd members lists them", args[0])
			}

			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error {
				answer, err := c.Machine.EtcdRemoveMemberByID(ctx, &machine.EtcdRemoveMemberByIDRequest{MemberId: id})

				return finish(c, answer.GetMessages(), err)
			})
		},
	}
}

func (a *app) etcdSnapshotCommand() *cobra.Command {
	return &cobra.Command{
		Use: "snapshot <path>", Short: "Store a snapshot of etcd in a local file", Args: cobra.ExactArgs(1), Example: "  dactylctl -n 10.5.0.2 etcd snapshot db.snapshot",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error {
				stream, err := c.Machine.EtcdSnapshot(ctx, &machine.EtcdSnapshotRequest{})
				if err != nil {
					return err
				}
				size, err := saveAs(args[0], func(w io.Writer) error { return copyData(c, stream, w) })
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "etcd snapshot saved to %q (%d bytes)\n", args[0], size)
				info, err := etcdsnapshot.Read(args[0], false)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "snapshot info: %s\n", info)

				return nil
			})
		},
	}
}

// saveAs writes beside the file and renames, so that a broken stream leaves no half file.
func saveAs(path string, write func(io.Writer) error) (int64, error) {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	err = write(f)
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Sync(), f.Close()); err != nil {
		return 0, errors.Join(err, os.Remove(part))
	}

	return info.Size(), os.Rename(part, path)
}

func (a *app) bootstrapCommand() *cobra.Command {
	var (
		from string
		skip bool
	)
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Start etcd on the first control plane node, once in a cluster's life",
		Long:  "Start etcd on one control plane node, once in a cluster's life; the others join it. With --recover-from, etcd begins with a snapshot.",
		Args:  cobra.NoArgs,
		Example: `  dactylctl -n 10.5.0.2 bootstrap
  dactylctl -n 10.5.0.2 bootstrap --recover-from=./db.snapshot`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if skip && from == "" {
				return errors.New("--recover-skip-hash-check is about a snapshot: name it with --recover-from")
			}

			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error {
				if from != "" {
					if err := a.recoverFrom(ctx, c, from, skip); err != nil {
						return err
					}
				}
				answer, err := c.Machine.Bootstrap(ctx, &machine.BootstrapRequest{RecoverEtcd: from != "", RecoverSkipHashCheck: skip})

				return finish(c, answer.GetMessages(), err)
			})
		},
	}
	cmd.Flags().StringVar(&from, "recover-from", "", "snapshot of etcd to begin with")
	cmd.Flags().BoolVar(&skip, "recover-skip-hash-check", false, "take a snapshot without a hash, as one copied from the data directory")

	return cmd
}

// recoverFrom checks a snapshot, gives it to the node and tells what is in it: before the bootstrap call, which acts on it.
func (a *app) recoverFrom(ctx context.Context, c *client.Client, path string, skipHash bool) error {
	info, err := etcdsnapshot.Read(path, skipHash)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := uploadSnapshot(ctx, c, path); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "recovering from snapshot %q: %s\n", path, info)

	return nil
}

func uploadSnapshot(ctx context.Context, c *client.Client, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	stream, err := c.Machine.EtcdRecover(ctx)
	if err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := f.Read(buffer)
		if n > 0 {
			// The reason of a failed Send is what CloseAndRecv tells.
			if sendErr := stream.Send(&common.Data{Bytes: buffer[:n]}); sendErr != nil {
				break
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	answer, err := stream.CloseAndRecv()

	return finish(c, answer.GetMessages(), err)
}
