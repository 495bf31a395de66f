package atomicfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// ErrDamaged marks what is there and cannot be used.
var ErrDamaged = errors.New("damaged")

const seal = "sha256:"

// Seal puts a line with the checksum before data.
func Seal(data []byte) []byte {
	sum := sha256.Sum256(data)

	return append([]byte(seal+hex.EncodeToString(sum[:])+"\n"), data...)
}

// Unseal gives what was sealed, or ErrDamaged when that is not what it was.
func Unseal(sealed []byte) ([]byte, error) {
	_, data, found := bytes.Cut(sealed, []byte("\n"))

	switch {
	case len(sealed) == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrDamaged)
	case !found || !bytes.Equal(sealed, Seal(data)):
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}

	return data, nil
}

// Twin is a file that must not be lost: beside it is a sealed copy, which tells a damaged file from a whole one and mends it.
type Twin struct {
	// Path is read by people and other programs; Copy beside it is replaced before it and believed before it.
	Path, Copy string
	Mode       os.FileMode
}

// Write replaces both; they last when it returns. After a power cut within it the new contents count if Copy has them.
func (t Twin) Write(data []byte) error {
	if err := errors.Join(giveWay(t.Copy), giveWay(t.Path)); err != nil {
		return err
	}

	var (
		nextCopy string
		copyErr  error
		both     sync.WaitGroup
	)

	// Waiting for the disk is nearly all of the time, so they wait together.
	both.Go(func() { nextCopy, copyErr = prepare(t.Copy, Seal(data), t.Mode) })

	next, err := prepare(t.Path, data, t.Mode)

	both.Wait()

	if err := errors.Join(copyErr, err); err != nil {
		return errors.Join(err, t.Clean())
	}

	if err := replace(nextCopy, t.Copy); err != nil {
		return errors.Join(err, t.Clean())
	}

	if err := replace(next, t.Path); err != nil {
		return err
	}

	return SyncDir(filepath.Dir(t.Path))
}

// Read gives nil if there is neither file. intact judges a file that has no whole copy, such as one from before there were
// copies. What was not as it should be is mended and told in mended; ErrDamaged: there is something, but neither is whole.
func (t Twin) Read(intact func([]byte) error) (data []byte, mended, err error) {
	data, pathErr := os.ReadFile(t.Path)
	sealed, copyErr := os.ReadFile(t.Copy)

	if errors.Is(pathErr, fs.ErrNotExist) && errors.Is(copyErr, fs.ErrNotExist) {
		return nil, nil, nil
	}

	if copyErr == nil {
		whole, err := Unseal(sealed)
		if err == nil {
			return whole, t.mend(data, whole, pathErr), nil
		}

		copyErr = fmt.Errorf("%s is %w", t.Copy, err)
	}

	if pathErr == nil {
		pathErr = intact(data)
	}

	if pathErr != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w; %w", ErrDamaged, t.Path, pathErr, copyErr)
	}

	if errors.Is(copyErr, fs.ErrNotExist) {
		copyErr = nil
	}

	return data, errors.Join(copyErr, t.put(t.Copy, Seal(data))), nil
}

// mend makes the file what its copy is. What was there is kept beside it.
func (t Twin) mend(data, whole []byte, why error) error {
	switch {
	case why == nil && bytes.Equal(data, whole):
		return nil
	case why == nil:
		why = fmt.Errorf("%s is not what was written", t.Path)
	}

	if !errors.Is(why, fs.ErrNotExist) {
		why = errors.Join(why, aside(t.Path))
	}

	return errors.Join(fmt.Errorf("made anew from its copy: %w", why), t.put(t.Path, whole))
}

// put replaces a file.
func (t Twin) put(path string, data []byte) error {
	if err := giveWay(path); err != nil {
		return err
	}

	return Write(path, data, t.Mode)
}

// giveWay moves what is no file out of the way, which could not be replaced.
func giveWay(path string) error {
	if info, err := os.Lstat(path); err != nil || info.Mode().IsRegular() {
		return nil
	}

	return aside(path)
}

// SetAside keeps a damaged file as PATH.damaged, before another one is written.
func (t Twin) SetAside() error {
	if err := aside(t.Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	return nil
}

// Clean removes what a Write that was cut short left behind.
func (t Twin) Clean() error { return errors.Join(Clean(t.Path), Clean(t.Copy)) }

// aside keeps the last damaged one under a name of its own.
func aside(path string) error {
	to := path + ".damaged"
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("forget an older damaged file: %w", err)
	}

	if err := os.Rename(path, to); err != nil {
		return fmt.Errorf("set a damaged file aside: %w", err)
	}

	return SyncDir(filepath.Dir(path))
}
