package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// snapLength is how much of each packet is wanted: all of it.
const snapLength = 65535

type pcapFlags struct {
	filter, link, output string
	duration             time.Duration
	promiscuous          bool
}

func (a *app) pcapCommand() *cobra.Command {
	var f pcapFlags
	cmd := &cobra.Command{
		Use: "pcap", Aliases: []string{"tcpdump"}, Short: "Capture packets on a link of a node", Args: cobra.NoArgs,
		Long: `Capture packets on a link of a node: a line for each, or with --output a file in the format of pcap, which tcpdump and wireshark
read. It goes on until --duration is over or Ctrl-C. The filter is a program as tcpdump -dd prints it.`,
		Example: `  dactylctl -n 10.5.0.2 pcap -i eth0 --duration 10s
  dactylctl -n 10.5.0.2 pcap -i eth0 -o - | tcpdump -vnr -
  dactylctl -n 10.5.0.2 pcap -i eth0 -o dns.pcap --bpf-filter "$(tcpdump -dd -y EN10MB udp and port 53)"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := parseFilter(f.filter)
			if err != nil {
				return err
			}
			req := &machine.PacketCaptureRequest{Interface: f.link, Promiscuous: f.promiscuous, SnapLen: snapLength, BpfFilter: filter}

			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error { return a.capture(ctx, c, req, f) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.filter, "bpf-filter", "", "capture only what this program lets through, as tcpdump -dd prints it")
	flags.DurationVar(&f.duration, "duration", 0, "how long to capture (default is until interrupted)")
	flags.StringVarP(&f.link, "interface", "i", "eth0", "link to capture on")
	flags.StringVarP(&f.output, "output", "o", "", "file to write in the format of pcap, - is the standard output (default is a line for each packet)")
	flags.BoolVar(&f.promiscuous, "promiscuous", false, "take packets for others, too")
	a.complete(cmd, "interface", func(string) []string { return a.resourceNames(cmd.Context(), "links") })

	return cmd
}

// capture ends without an error when its time is over or it is interrupted.
func (a *app) capture(ctx context.Context, c *client.Client, req *machine.PacketCaptureRequest, f pcapFlags) error {
	interrupted := ctx
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	stream, err := c.Machine.PacketCapture(ctx, req)
	if err != nil {
		return err
	}
	over := func(err error) error {
		if code := status.Code(err); interrupted.Err() != nil || f.duration > 0 && (code == codes.DeadlineExceeded || code == codes.Canceled) && ctx.Err() != nil {
			return nil
		}

		return err
	}
	if f.output != "" {
		out, done, err := a.newFile(f.output)
		if err != nil {
			return err
		}

		return done(over(copyData(c, stream, out)))
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(over(copyData(c, stream, w))) }()

	return printPackets(r, a.out)
}

// instruction is a line of tcpdump -dd: { 0x28, 0, 0, 0x0000000c },
var instruction = regexp.MustCompile(`^\{ *(\w+), *(\w+), *(\w+), *(\w+) *\},?$`)

func parseFilter(text string) ([]*machine.BPFInstruction, error) {
	var program []*machine.BPFInstruction
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		words := instruction.FindStringSubmatch(line)
		var n [4]uint32
		for i := range n {
			if words == nil {
				break
			}
			v, err := strconv.ParseUint(words[i+1], 0, 32)
			if err != nil {
				words = nil

				break
			}
			n[i] = uint32(v)
		}
		if words == nil {
			return nil, fmt.Errorf("--bpf-filter: %q is no instruction: a filter is what `tcpdump -dd EXPRESSION` prints", line)
		}
		program = append(program, &machine.BPFInstruction{Op: n[0], Jt: n[1], Jf: n[2], K: n[3]})
	}

	return program, nil
}
