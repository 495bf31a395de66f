package networkd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// capturing is a capture of a test and the file it has given so far.
type capturing struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[common.Data]
	cancel context.CancelFunc
	file   []byte
}

func startCapture(t *testing.T, api machine.MachineServiceClient, req *machine.PacketCaptureRequest) *capturing {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)

	stream, err := api.PacketCapture(ctx, req)
	if err != nil {
		t.Fatal(err)
	}

	c := &capturing{t: t, stream: stream, cancel: cancel}
	c.until(24) // it hears from here on

	return c
}

// until so many bytes are there.
func (c *capturing) until(size int) {
	c.t.Helper()

	for len(c.file) < size {
		data, err := c.stream.Recv()
		if err != nil {
			c.t.Fatalf("after %d of %d bytes: %v", len(c.file), size, err)
		}

		c.file = append(c.file, data.GetBytes()...)
	}
}

// packet takes the next packet of the file.
func (c *capturing) packet(at int) (data []byte, onWire int, next int) {
	c.t.Helper()
	c.until(at + 16)

	size := int(binary.NativeEndian.Uint32(c.file[at+8:]))
	c.until(at + 16 + size)

	if age := time.Since(time.Unix(int64(binary.NativeEndian.Uint32(c.file[at:])), 0)); age < -time.Second || age > time.Minute {
		c.t.Errorf("a packet that is %s old", age)
	}

	return c.file[at+16 : at+16+size], int(binary.NativeEndian.Uint32(c.file[at+12:])), at + 16 + size
}

// inject sends frames out of a link of the namespace.
func inject(t *testing.T, ns *kittest.NS, link string, frames ...[]byte) {
	t.Helper()

	ns.Run(func() {
		i, err := net.InterfaceByName(link)
		if err != nil {
			t.Error(err)

			return
		}

		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)

			return
		}
		defer unix.Close(fd)

		for _, frame := range frames {
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
				t.Error(err)
			}
		}
	})
}

// frame to another machine, of the type for local experiments (IEEE 802, 0x88b5) or the given one.
func frame(kind uint16, size int) []byte {
	head := append([]byte{2, 0, 0, 0, 0, 9}, 2, 0, 0, 0, 0, 8)

	return append(binary.BigEndian.AppendUint16(head, kind), bytes.Repeat([]byte{byte(size)}, size-14)...)
}

func TestPacketCapture(t *testing.T) {
	ns := namespace(t)
	ns.Exec("ip", "link", "set", "eth0", "up")

	d := kittest.Start(t, "./cmd/networkd", kittest.Options{NS: ns})
	api := machine.NewMachineServiceClient(d.Conn())

	// In the manner of tcpdump -dd "ether proto 0x88b5 or vlan".
	filter := []*machine.BPFInstruction{
		{Op: 0x28, K: 12},
		{Op: 0x15, Jt: 2, K: 0x88b5},
		{Op: 0x28, K: 0xfffff030}, // SKF_AD_VLAN_TAG_PRESENT
		{Op: 0x15, Jt: 1, K: 0},
		{Op: 0x06, K: 0x40000},
		{Op: 0x06},
	}
	c := startCapture(t, api, &machine.PacketCaptureRequest{Interface: "peer0", Promiscuous: true, SnapLen: 60, BpfFilter: filter})

	if header := fmt.Sprintf("%x", c.file[:24]); binary.NativeEndian.Uint16([]byte{1, 0}) == 1 &&
		header != "d4c3b2a1020004000000000000000000"+"3c000000"+"01000000" {
		t.Errorf("header %s", header)
	}

	tagged := append(append(frame(0, 20)[:12:12], 0x81, 0, 0x60, 0x2a), frame(0x88b5, 40)[12:]...)
	inject(t, ns, "eth0", frame(0x88b6, 50), frame(0x88b5, 100), tagged)

	first, length, next := c.packet(24)
	if !bytes.Equal(first, frame(0x88b5, 100)[:60]) || length != 100 {
		t.Errorf("%d of %d bytes: %x", len(first), length, first)
	}

	second, length, _ := c.packet(next)
	if !bytes.Equal(second, tagged) || length != len(tagged) {
		t.Errorf("the tagged packet: %d bytes\n%x\n%x", length, second, tagged)
	}

	readByTcpdump(t, c.file)

	promiscuous := func() bool { return !strings.Contains(ns.Exec("ip", "-d", "link", "show", "peer0"), "promiscuity 0 ") }
	if !promiscuous() {
		t.Error("the link is not promiscuous")
	}

	c.cancel()
	kittest.Await(t, 5*time.Second, "the socket is closed when the client is gone", func() bool { return !promiscuous() })
}

// readByTcpdump has somebody else read the file.
func readByTcpdump(t *testing.T, file []byte) {
	t.Helper()

	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Log("tcpdump is not here: `make prepare` gets it")

		return
	}

	cmd := exec.Command(tcpdump, "-ennr", "-")
	cmd.Stdin = bytes.NewReader(file)

	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "length 100:") || !strings.Contains(string(out), "vlan 42, p 3") {
		t.Errorf("tcpdump reads %v\n%s", err, out)
	}
}

func TestCaptureRefused(t *testing.T) {
	ns := namespace(t)
	d := kittest.Start(t, "./cmd/networkd", kittest.Options{NS: ns})
	api := machine.NewMachineServiceClient(d.Conn())

	refused := func(code codes.Code, text string, req *machine.PacketCaptureRequest) {
		t.Helper()

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()

		stream, err := api.PacketCapture(ctx, req)
		for err == nil {
			_, err = stream.Recv()
		}

		if s := status.Convert(err); s.Code() != code || !strings.Contains(s.Message(), text) {
			t.Errorf("%v: %v, want %s: %s", req, err, code, text)
		}
	}

	refused(codes.InvalidArgument, "on which link", &machine.PacketCaptureRequest{})
	refused(codes.NotFound, `no link "eth7"`, &machine.PacketCaptureRequest{Interface: "eth7"})
	refused(codes.NotFound, `no link "a-name-longer-than-any"`, &machine.PacketCaptureRequest{Interface: "a-name-longer-than-any"})
	refused(codes.InvalidArgument, "at most 262144", &machine.PacketCaptureRequest{Interface: "lo", SnapLen: 1 << 31})
	refused(codes.InvalidArgument, "instruction 1 of the filter",
		&machine.PacketCaptureRequest{Interface: "lo", BpfFilter: []*machine.BPFInstruction{{Op: 1 << 16}}})
	refused(codes.InvalidArgument, "the kernel refuses the filter", // a jump behind its end
		&machine.PacketCaptureRequest{Interface: "lo", BpfFilter: []*machine.BPFInstruction{{Op: 0x15, Jt: 9}, {Op: 6}}})

	// Each holds memory: more than eight at once are too many, and one that ends makes room.
	all := make([]*capturing, 8)
	for i := range all {
		all[i] = startCapture(t, api, &machine.PacketCaptureRequest{Interface: "lo"})
	}

	refused(codes.ResourceExhausted, "8 captures run", &machine.PacketCaptureRequest{Interface: "lo"})
	all[0].cancel()
	kittest.Await(t, 5*time.Second, "room for another", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()

		stream, err := api.PacketCapture(ctx, &machine.PacketCaptureRequest{Interface: "peer0"})
		if err == nil {
			_, err = stream.Recv()
		}

		return err == nil
	})
	all[1].cancel()

	// A link that goes down ends its capture.
	ns.Exec("ip", "link", "add", "gone0", "type", "veth", "peer", "name", "gone1")
	ns.Exec("ip", "link", "set", "gone0", "up")

	kittest.Await(t, 5*time.Second, "a capture on the new link, and its end", func() bool {
		stream, err := api.PacketCapture(t.Context(), &machine.PacketCaptureRequest{Interface: "gone0"})
		if err == nil {
			_, err = stream.Recv()
		}

		if err != nil {
			return false
		}

		ns.Exec("ip", "link", "del", "gone0")

		for err == nil {
			_, err = stream.Recv()
		}

		return status.Code(err) == codes.FailedPrecondition && strings.Contains(err.Error(), "gone0: the link is down or was removed")
	})
}
