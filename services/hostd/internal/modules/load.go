package modules

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrUnknown is a module or a device that no file of this kernel is for.
var ErrUnknown = errors.New("this kernel has no such module")

// Loader loads modules into the running kernel. The zero value knows none.
type Loader struct {
	index *Index
	dir   string // the kernel's modules
	sys   string // /sys/module
}

// Open reads the index of the running kernel's modules below root.
func Open(root string) (*Loader, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("ask for kernel release: %w", err)
	}

	release := unix.ByteSliceToString(name.Release[:])

	var errs error

	for _, base := range []string{"usr/lib/modules", "lib/modules"} {
		dir := filepath.Join(root, base, release)

		index, err := readIndex(dir)
		if err == nil {
			return &Loader{index: index, dir: dir, sys: filepath.Join(root, "sys/module")}, nil
		}

		errs = errors.Join(errs, err)
	}

	return nil, errs
}

func readIndex(dir string) (*Index, error) {
	var files Files

	for name, into := range map[string]*io.Reader{
		"modules.dep": &files.Dep, "modules.alias": &files.Alias, "modules.softdep": &files.Softdep, "modules.builtin": &files.Builtin,
	} {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && name != "modules.dep" {
			continue
		}

		if err != nil {
			return nil, fmt.Errorf("read modules: %w", err)
		}
		defer f.Close()

		*into = f
	}

	return Parse(files), nil
}

// Fits tells whether there is a module for a name or an alias.
func (l *Loader) Fits(text string) bool { return l.index != nil && len(l.index.Resolve(text)) > 0 }

// Load loads the modules for a name or a device's alias and all they need, unless they are there already. parameters are for
// the module itself. It gives what was loaded now. Loads may run at the same time: a driver's probe can take seconds, and one
// that needs a module which another load has begun waits for it in the kernel.
func (l *Loader) Load(text string, parameters ...string) ([]string, error) {
	var names []string
	if l.index != nil {
		names = l.index.Resolve(text)
	}

	if len(names) == 0 {
		return nil, fmt.Errorf("%s: %w", text, ErrUnknown)
	}

	var (
		done []string
		errs []error
	)

	for _, name := range names {
		for _, next := range l.index.Plan(name, l.loaded) {
			own := ""
			if next == name {
				own = strings.Join(parameters, " ")
			}

			if err := l.insert(next, own); err != nil {
				errs = append(errs, fmt.Errorf("load %s: %w", next, err))

				break
			}

			done = append(done, next)
		}
	}

	return done, errors.Join(errs...)
}

func (l *Loader) loaded(name string) bool {
	_, err := os.Stat(filepath.Join(l.sys, name))

	return err == nil
}

// insert is finit_module(2). Somebody else may have been faster.
func (l *Loader) insert(name, parameters string) error {
	path, _ := l.index.Path(name)

	f, err := os.Open(filepath.Join(l.dir, path))
	if err != nil {
		return err
	}
	defer f.Close()

	if err := unix.FinitModule(int(f.Fd()), parameters, 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}

	return nil
}
