package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
)

// Of the NBD protocol (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md) what QEMU asks for: fixed newstyle
// negotiation, NBD_OPT_GO, simple replies.
const (
	magic        = 0x4e42444d41474943 // NBDMAGIC
	magicOption  = 0x49484156454f5054 // IHAVEOPT
	magicAnswer  = 0x3e889045565a9
	magicRequest = 0x25609513
	magicReply   = 0x67446698

	fixedNewstyle = 1

	optionAbort, optionInfo, optionGo = 2, 6, 7
	answerAck, answerInfo, answerNot  = 1, 3, 1<<31 | 1

	// HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES.
	flags = 1 | 4 | 8 | 32 | 64

	requestRead, requestWrite, requestEnd, requestFlush, requestTrim, requestZero = 0, 1, 2, 3, 4, 6

	forceAccess = 1
	ioError     = 5
	maxRequest  = 64 << 20
)

var errEnd = errors.New("the client ended it")

// serve answers one client until that ends.
func serve(conn io.ReadWriter, d *disk) error {
	c := &client{disk: d, in: bufio.NewReaderSize(conn, 1<<20), out: bufio.NewWriterSize(conn, 1<<20)}

	err := c.negotiate()
	for err == nil {
		err = c.answer()
	}

	if errors.Is(err, errEnd) || errors.Is(err, io.EOF) {
		return nil
	}

	return err
}

type client struct {
	disk *disk
	in   *bufio.Reader
	out  *bufio.Writer
}

// send writes numbers of fixed size and bytes.
func (c *client) send(values ...any) error {
	for _, v := range values {
		if err := binary.Write(c.out, binary.BigEndian, v); err != nil {
			return err
		}
	}

	return c.out.Flush()
}

func (c *client) receive(into any) error { return binary.Read(c.in, binary.BigEndian, into) }

func (c *client) negotiate() error {
	var theirs uint32
	if err := errors.Join(c.send(uint64(magic), uint64(magicOption), uint16(fixedNewstyle)), c.receive(&theirs)); err != nil {
		return fmt.Errorf("negotiate: %w", err)
	}

	for {
		var option struct {
			Magic          uint64
			Option, Length uint32
		}
		if err := c.receive(&option); err != nil {
			return fmt.Errorf("negotiate: %w", err)
		}

		if option.Magic != magicOption {
			return errors.New("negotiate: no option")
		}

		if _, err := c.in.Discard(int(option.Length)); err != nil {
			return fmt.Errorf("negotiate: %w", err)
		}

		answer := func(kind uint32, data []byte) error {
			return c.send(uint64(magicAnswer), option.Option, kind, uint32(len(data)), data)
		}

		switch option.Option {
		case optionAbort:
			return errors.Join(answer(answerAck, nil), errEnd)
		case optionInfo, optionGo:
			if err := errors.Join(answer(answerInfo, c.export()), answer(answerAck, nil)); err != nil {
				return err
			}

			if option.Option == optionGo {
				return nil
			}
		default:
			if err := answer(answerNot, nil); err != nil {
				return err
			}
		}
	}
}

// export is NBD_INFO_EXPORT.
func (c *client) export() []byte {
	info := binary.BigEndian.AppendUint64([]byte{0, 0}, uint64(c.disk.size))

	return binary.BigEndian.AppendUint16(info, flags)
}

// request is a request's header.
type request struct {
	Magic          uint32
	Flags, Command uint16
	Handle, Offset uint64
	Length         uint32
}

func (c *client) answer() error {
	var r request
	if err := c.receive(&r); err != nil {
		return err
	}

	if r.Magic != magicRequest || r.Length > maxRequest && (r.Command == requestRead || r.Command == requestWrite) {
		return fmt.Errorf("no request: %+v", r)
	}

	data, err := c.do(r)
	if errors.Is(err, errEnd) {
		return err
	}

	var code uint32
	if err != nil {
		log.Print(err)

		code, data = ioError, nil
	}

	return c.send(uint32(magicReply), code, r.Handle, data)
}

// do does what is asked for and gives what was read.
func (c *client) do(r request) (data []byte, err error) {
	switch offset := int64(r.Offset); r.Command {
	case requestRead:
		data = make([]byte, r.Length)
		err = c.disk.read(data, offset)
	case requestWrite:
		in := make([]byte, r.Length)
		if _, err := io.ReadFull(c.in, in); err != nil {
			return nil, errors.Join(err, errEnd)
		}

		err = c.disk.write(in, offset)
	case requestTrim, requestZero:
		err = c.disk.zero(offset, int64(r.Length))
	case requestFlush:
		err = c.disk.flush()
	case requestEnd:
		err = errEnd
	default:
		err = fmt.Errorf("request %d is not known", r.Command)
	}

	// More than was asked for lasts, which is as good.
	if err == nil && r.Flags&forceAccess != 0 {
		err = c.disk.flush()
	}

	return data, err
}
