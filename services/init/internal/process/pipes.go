package process

import (
	"errors"
	"fmt"
	"os"
)

// pipes connect init to one process.
type pipes struct {
	null, output, childOutput, notify, childNotify *os.File
}

func openPipes() (*pipes, error) {
	p := &pipes{}

	var err, err1, err2 error

	p.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
	p.output, p.childOutput, err1 = os.Pipe()
	p.notify, p.childNotify, err2 = os.Pipe()

	if err := errors.Join(err, err1, err2); err != nil {
		p.closeChild()

		return nil, errors.Join(fmt.Errorf("open pipes: %w", err), p.closeParent())
	}

	return p, nil
}

// closeChild closes what only the process needs; its own copies keep the pipes open.
func (p *pipes) closeChild() {
	for _, f := range []*os.File{p.null, p.childOutput, p.childNotify} {
		_ = f.Close() // a nil file only gives an error
	}
}

func (p *pipes) closeParent() error {
	return errors.Join(p.output.Close(), p.notify.Close())
}
