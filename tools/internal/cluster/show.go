package cluster

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	clusterres "github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// showLimit bounds the questions for a table: a node that is away leaves its cells empty.
const showLimit = 3 * time.Second

// view is what one node says about itself.
type view struct {
	services map[string]string
	members  []*clusterres.Member
	err      error
}

// Show prints the tables of nodes, services and members.
func (c *Cluster) Show(ctx context.Context, out io.Writer) error {
	views := c.look(ctx)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)

	fmt.Fprintf(w, "PROVISIONER\t%s\nNAME\t%s\nNETWORK\t%s, gateway %s, MTU %d\nSTATE\t%s\n\n", c.Provisioner, c.Name, c.CIDR, c.Gateway, c.MTU, c.dir)
	fmt.Fprintln(w, "NODE\tTYPE\tADDRESS\tCONDITION\tSERVICES")

	for i, m := range c.Machines() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.Name, m.Type, m.Address, m.Condition(), views[i].summary())
	}

	c.showServices(w, views)
	showMembers(w, views)

	return w.Flush()
}

// look asks every node at once.
func (c *Cluster) look(ctx context.Context) []view {
	ctx, cancel := context.WithTimeout(ctx, showLimit)
	defer cancel()

	views := make([]view, len(c.Nodes))

	var asked sync.WaitGroup

	for i, m := range c.Machines() {
		asked.Go(func() {
			views[i].services = map[string]string{}
			views[i].err = with(m, func(client *client.Client) error { return views[i].fill(ctx, client) })
		})
	}

	asked.Wait()

	return views
}

func (v *view) fill(ctx context.Context, c *client.Client) error {
	answer, err := c.Machine.ServiceList(ctx, &emptypb.Empty{})
	if err != nil {
		return err
	}

	for _, message := range answer.GetMessages() {
		for _, s := range message.GetServices() {
			v.services[s.GetId()] = stateOf(s)
		}
	}

	v.members, err = listMembers(ctx, c)

	return err
}

func stateOf(s *machine.ServiceInfo) string {
	switch health := s.GetHealth(); {
	case s.GetState() != "Running":
		return s.GetState()
	case health.GetUnknown():
		return "Running ?"
	case health.GetHealthy():
		return "Running OK"
	default:
		return "Running Fail"
	}
}

func (v *view) summary() string {
	if len(v.services) == 0 && v.err != nil {
		text := plain(v.err)
		if runes := []rune(text); len(runes) > 80 {
			text = string(runes[:79]) + "…"
		}

		return text
	}

	running, wanted := 0, 0

	for _, id := range own(v.services) {
		state := v.services[id]
		if strings.HasPrefix(state, "Running") {
			running++
		}

		if state != "Skipped" {
			wanted++
		}
	}

	return fmt.Sprintf("%d of %d running", running, wanted)
}

// own leaves out the names that older clients know services by.
func own(services map[string]string) []string {
	var ids []string

	for id := range services {
		if id != "apid" && id != "machined" && id != "etcd" {
			ids = append(ids, id)
		}
	}

	slices.Sort(ids)

	return ids
}

func (c *Cluster) showServices(w io.Writer, views []view) {
	all := map[string]string{}

	fmt.Fprint(w, "\nSERVICE")

	for i, n := range c.Nodes {
		fmt.Fprintf(w, "\t%s", n.Address)

		for id := range views[i].services {
			all[id] = ""
		}
	}

	fmt.Fprintln(w)

	for _, id := range own(all) {
		fmt.Fprint(w, id)

		for _, v := range views {
			state := v.services[id]
			if state == "" || state == "Skipped" {
				state = "-"
			}

			fmt.Fprintf(w, "\t%s", state)
		}

		fmt.Fprintln(w)
	}
}

// showMembers prints what the first node that knows any members says.
func showMembers(w io.Writer, views []view) {
	fmt.Fprintln(w, "\nMEMBER\tHOSTNAME\tTYPE\tOS\tADDRESSES")

	for _, v := range views {
		if len(v.members) == 0 {
			continue
		}

		for _, member := range v.members {
			spec := member.TypedSpec()

			addresses := make([]string, len(spec.Addresses))
			for i, a := range spec.Addresses {
				addresses[i] = a.String()
			}

			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", member.Metadata().ID(), spec.Hostname, spec.MachineType, spec.OperatingSystem, strings.Join(addresses, ","))
		}

		return
	}
}

// Hints prints three commands to try.
func (c *Cluster) Hints(out io.Writer) {
	first, last := c.Nodes[0], c.Nodes[len(c.Nodes)-1]
	fmt.Fprintf(out, `
try:
  dactylctl -n %s version
  dactylctl -n %s service networkd restart
  dactylctl -n %s get members
`, first.Address, last.Address, strings.Join(c.Addresses(), ","))
}
