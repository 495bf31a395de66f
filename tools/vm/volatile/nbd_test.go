package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"testing"
)

// TestServe speaks as QEMU does: options it knows and one it does not, then requests.
func TestServe(t *testing.T) {
	d := newDisk(t, 4*blockSize)
	here, there := net.Pipe()
	ended := make(chan error, 1)

	go func() { ended <- serve(there, d) }()

	send := func(values ...any) {
		t.Helper()

		for _, v := range values {
			if err := binary.Write(here, binary.BigEndian, v); err != nil {
				t.Fatal(err)
			}
		}
	}

	expect := func(values ...any) {
		t.Helper()

		var want bytes.Buffer

		for _, v := range values {
			_ = binary.Write(&want, binary.BigEndian, v) // never an error
		}

		got := make([]byte, want.Len())
		if _, err := io.ReadFull(here, got); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("got %x, want %x (%v)", got, want.Bytes(), err)
		}
	}

	expect([]byte("NBDMAGIC"), []byte("IHAVEOPT"), uint16(1))
	send(uint32(1))

	const structuredReply = 8

	send([]byte("IHAVEOPT"), uint32(structuredReply), uint32(0))
	expect(uint64(magicAnswer), uint32(structuredReply), uint32(answerNot), uint32(0))

	send([]byte("IHAVEOPT"), uint32(optionGo), uint32(6), make([]byte, 6))
	expect(uint64(magicAnswer), uint32(optionGo), uint32(answerInfo), uint32(12), uint16(0), uint64(4*blockSize), uint16(flags))
	expect(uint64(magicAnswer), uint32(optionGo), uint32(answerAck), uint32(0))

	data := bytes.Repeat([]byte{7}, blockSize)

	request := func(handle int, command uint16, offset, length int) {
		t.Helper()
		send(uint32(magicRequest), uint16(0), command, uint64(handle), uint64(offset), uint32(length))
	}

	request(1, requestWrite, blockSize, blockSize)
	send(data)
	expect(uint32(magicReply), uint32(0), uint64(1))

	request(2, requestRead, blockSize, blockSize)
	expect(uint32(magicReply), uint32(0), uint64(2), data)

	request(3, requestRead, 4*blockSize, blockSize)
	expect(uint32(magicReply), uint32(ioError), uint64(3))

	request(4, requestFlush, 0, 0)
	expect(uint32(magicReply), uint32(0), uint64(4))

	if file, err := os.ReadFile(d.file.Name()); err != nil || !bytes.Equal(file[blockSize:2*blockSize], data) {
		t.Errorf("a flushed block is not in the file: %v", err)
	}

	request(5, requestZero, blockSize, blockSize)
	expect(uint32(magicReply), uint32(0), uint64(5))

	request(6, requestRead, blockSize, blockSize)
	expect(uint32(magicReply), uint32(0), uint64(6), make([]byte, blockSize))

	request(7, requestEnd, 0, 0)

	if err := <-ended; err != nil {
		t.Error(err)
	}
}
