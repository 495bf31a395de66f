package files

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/proto/machine"
)

// ListOptions are those of the call.
type ListOptions struct {
	// Depth of the walk: 0 is the path itself, 1 its entries; below 0 without bound.
	Depth int
	// Types to show; none means all.
	Types  []machine.ListRequest_Type
	Xattrs bool
}

// Depth is the bound that a list request means: one level unless it recurses or says how deep.
func Depth(recurse bool, depth int32) int {
	switch {
	case depth > 0:
		return int(depth)
	case recurse:
		return -1
	default:
		return 1
	}
}

// List sends an entry for the path and what lies below it, parents first. What cannot be read is sent with its error
// and does not end the list.
func (r Root) List(ctx context.Context, path string, o ListOptions, send func(*machine.FileInfo) error) error {
	asked, begin, info, err := r.start(path)
	if err != nil {
		return err
	}

	w := walk{ctx: ctx, root: r, top: begin, shown: asked, topIsDir: info.IsDir(), options: o, send: send}

	return w.entry(begin, info, 0)
}

type walk struct {
	ctx        context.Context
	root       Root
	top, shown string // where the walk began, and as the caller wrote it
	topIsDir   bool
	options    ListOptions
	send       func(*machine.FileInfo) error
}

func (w *walk) entry(path string, info os.FileInfo, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}

	descend := info.IsDir() && (w.options.Depth < 0 || depth < w.options.Depth)

	var (
		children []os.DirEntry
		problem  error
	)

	if descend {
		children, problem = w.root.readDir(path)
	}

	if problem != nil || wanted(info.Mode(), w.options.Types) {
		if err := w.send(w.describe(path, info, problem)); err != nil {
			return err
		}
	}

	for _, child := range children {
		if err := w.child(filepath.Join(path, child.Name()), child, depth+1); err != nil {
			return err
		}
	}

	return nil
}

func (w *walk) child(path string, entry os.DirEntry, depth int) error {
	info, err := entry.Info()
	if os.IsNotExist(err) {
		return nil // went away meanwhile, as processes in /proc do
	}

	if err != nil {
		return w.send(&machine.FileInfo{Name: w.name(path), RelativeName: w.relative(path), Error: err.Error()})
	}

	return w.entry(path, info, depth)
}

func (w *walk) describe(path string, info os.FileInfo, problem error) *machine.FileInfo {
	out := &machine.FileInfo{
		Name: w.name(path), RelativeName: w.relative(path), Size: info.Size(), Mode: uint32(info.Mode()),
		Modified: info.ModTime().Unix(), IsDir: info.IsDir(),
	}

	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		out.Uid, out.Gid = stat.Uid, stat.Gid
	}

	if info.Mode()&os.ModeSymlink != 0 {
		if out.Link, problem = os.Readlink(path); problem != nil {
			out.Link = ""
		}
	}

	if w.options.Xattrs {
		out.Xattrs = xattrs(path)
	}

	if problem != nil {
		out.Error = problem.Error()
	}

	return out
}

func (w *walk) name(path string) string {
	return w.root.Show(filepath.Join(w.shown, w.below(path)))
}

func (w *walk) relative(path string) string {
	if path == w.top && !w.topIsDir {
		return filepath.Base(w.shown)
	}

	return w.below(path) // "." for the directory that was asked for
}

func (w *walk) below(path string) string {
	rel, err := filepath.Rel(w.top, path)
	if err != nil {
		return path
	}

	return rel
}

func wanted(mode os.FileMode, types []machine.ListRequest_Type) bool {
	if len(types) == 0 {
		return true
	}

	switch {
	case mode.IsRegular():
		return slices.Contains(types, machine.ListRequest_REGULAR)
	case mode.IsDir():
		return slices.Contains(types, machine.ListRequest_DIRECTORY)
	case mode&os.ModeSymlink != 0:
		return slices.Contains(types, machine.ListRequest_SYMLINK)
	default:
		return false
	}
}

// xattrs are best effort: most file systems of the kernel itself have none.
func xattrs(path string) []*machine.Xattr {
	size, err := unix.Llistxattr(path, nil)
	if err != nil || size == 0 {
		return nil
	}

	names := make([]byte, size)
	if size, err = unix.Llistxattr(path, names); err != nil {
		return nil
	}

	var out []*machine.Xattr

	for _, name := range splitNames(names[:size]) {
		value := make([]byte, 64<<10) // the kernel's limit

		if n, err := unix.Lgetxattr(path, name, value); err == nil {
			out = append(out, &machine.Xattr{Name: name, Data: slices.Clone(value[:n])})
		}
	}

	return out
}

func splitNames(list []byte) []string {
	var out []string

	for from, i := 0, 0; i < len(list); i++ {
		if list[i] == 0 {
			out = append(out, string(list[from:i]))
			from = i + 1
		}
	}

	return out
}
