package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// recorded are packets as they were on a wire.
func recorded(packets ...[]byte) []byte {
	file := binary.LittleEndian.AppendUint32(nil, pcapMicros)
	file = append(file, make([]byte, 16)...)
	file = binary.LittleEndian.AppendUint32(file, linkEthernet)
	for i, p := range packets {
		for _, n := range []int{1700000000, i, len(p), len(p)} {
			file = binary.LittleEndian.AppendUint32(file, uint32(n))
		}
		file = append(file, p...)
	}

	return file
}

func ethernet(kind uint16, payload ...byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, kind), payload...)
}

func ipv4(protocol byte, payload ...byte) []byte {
	head := []byte{0x45, 0, 0, byte(20 + len(payload)), 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}

	return ethernet(0x0800, append(append(head, payload...), 0, 0, 0)...) // padded
}

func TestPackets(t *testing.T) {
	v6 := append([]byte{0x60, 0, 0, 0, 0, 8, 17, 64, 15: 0, 23: 1, 39: 2}, 0, 53, 0x30, 0x39, 0, 8, 0, 0)
	v6[8], v6[24] = 0xfd, 0xfd
	var out strings.Builder
	if err := printPackets(bytes.NewReader(recorded(
		ipv4(6, 0xc3, 0x50, 0, 80, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0, 'h', 'i'),
		ipv4(17, 0, 53, 0x30, 0x39, 0, 9, 0, 0, 'x'), ipv4(1, 8, 0), ipv4(89, 1, 2), ethernet(0x86dd, v6...),
		ethernet(0x0806, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2),
		ethernet(0x8100, append([]byte{0, 7, 0x08, 0x00}, ipv4(1, 0, 0)[14:]...)...), ethernet(0x88cc, 1), ethernet(0x0800, 1),
	)), &out); err != nil {
		t.Fatal(err)
	}
	want := `22:13:20.000000    59 10.0.0.1:50000 > 10.0.0.2:80: TCP [S.] seq 9, 2 bytes
22:13:20.000001    46 10.0.0.1:53 > 10.0.0.2:12345: UDP 1 bytes
22:13:20.000002    39 10.0.0.1 > 10.0.0.2: ICMP type 8 code 0
22:13:20.000003    39 10.0.0.1 > 10.0.0.2: protocol 89, 2 bytes
22:13:20.000004    62 [fd00::1]:53 > [fd00::2]:12345: UDP 0 bytes
22:13:20.000005    42 10.0.0.1 > 10.0.0.2: ARP who has it
22:13:20.000006    43 vlan 7, 10.0.0.1 > 10.0.0.2: ICMP type 0 code 0
22:13:20.000007    15 02:00:00:00:00:01 > 02:00:00:00:00:02: type 0x88cc
22:13:20.000008    15 IPv4 (cut short)
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if err := printPackets(strings.NewReader("certainly not a capture file"), io.Discard); err == nil {
		t.Error("what is no pcap is read")
	}
}

// TestAnyPacketIsDescribed: what comes from a wire may be anything.
func TestAnyPacketIsDescribed(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	kinds := []uint16{0x0800, 0x86dd, 0x0806, 0x8100, 0x88cc}
	for range 200_000 {
		payload := make([]byte, random.IntN(64))
		for i := range payload {
			payload[i] = byte(random.Uint32())
		}
		describePacket(linkEthernet, ethernet(kinds[random.IntN(len(kinds))], payload...))
		describePacket(linkRaw, payload)
	}
}

func TestFilters(t *testing.T) {
	program, err := parseFilter("{ 0x28, 0, 0, 0x0000000c },\n{ 0x15, 0, 1, 0x00000806 },\n\n{ 0x6, 0, 0, 0x00040000 }\n")
	if err != nil || len(program) != 3 || program[0].GetOp() != 0x28 || program[1].GetJf() != 1 || program[2].GetK() != 0x40000 {
		t.Errorf("%v %v", program, err)
	}
	for _, text := range []string{"udp port 53", "{ 1, 2, 3 }", "{ 0x28, 0, 0, 0x1ffffffff }"} {
		if _, err := parseFilter(text); err == nil || !strings.Contains(err.Error(), "tcpdump -dd") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
