package files

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dactyl-os/dactyl/proto/machine"
)

// UsageOptions are those of the call.
type UsageOptions struct {
	// Depth to which directories are shown; their sizes are always complete. 0 shows the path alone, below 0 all.
	Depth int
	// All shows files too.
	All bool
	// Threshold hides what is smaller, or what is larger when it is negative.
	Threshold int64
}

// Usage sends the sizes of directories, and of files with All, children first. Sizes are apparent ones in bytes (`du -b`);
// a file with several names counts once.
func (r Root) Usage(ctx context.Context, path string, o UsageOptions, send func(*machine.DiskUsageInfo) error) error {
	asked, begin, info, err := r.start(path)
	if err != nil {
		return err
	}

	u := usage{
		walk:    walk{ctx: ctx, root: r, top: begin, shown: asked, topIsDir: info.IsDir()},
		options: o, send: send, seen: map[inode]bool{},
	}
	_, err = u.entry(begin, info, 0)

	return err
}

type inode struct{ device, number uint64 }

type usage struct {
	walk

	options UsageOptions
	send    func(*machine.DiskUsageInfo) error
	seen    map[inode]bool
}

func (u *usage) entry(path string, info os.FileInfo, depth int) (int64, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}

	if u.counted(info) {
		return 0, nil
	}

	size := info.Size()

	var problem error

	if info.IsDir() {
		below, err := u.children(path, depth, &problem)
		if err != nil {
			return 0, err
		}

		size += below
	}

	if problem == nil && !u.show(info, depth, size) {
		return size, nil
	}

	out := &machine.DiskUsageInfo{Name: u.name(path), RelativeName: u.relative(path), Size: size}
	if problem != nil {
		out.Error = problem.Error()
	}

	return size, u.send(out)
}

func (u *usage) children(path string, depth int, problem *error) (int64, error) {
	entries, err := u.root.readDir(path)
	if err != nil && !os.IsNotExist(err) {
		*problem = err
	}

	var sum int64

	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // went away meanwhile
		}

		size, err := u.entry(filepath.Join(path, e.Name()), info, depth+1)
		if err != nil {
			return 0, err
		}

		sum += size
	}

	return sum, nil
}

func (u *usage) counted(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.IsDir() || stat.Nlink < 2 {
		return false
	}

	id := inode{uint64(stat.Dev), stat.Ino} //nolint:unconvert // its type differs between architectures
	known := u.seen[id]
	u.seen[id] = true

	return known
}

func (u *usage) show(info os.FileInfo, depth int, size int64) bool {
	o := u.options

	switch {
	case depth == 0:
		return passes(size, o.Threshold)
	case !info.IsDir() && !o.All, o.Depth >= 0 && depth > o.Depth:
		return false
	default:
		return passes(size, o.Threshold)
	}
}

func passes(size, threshold int64) bool {
	if threshold < 0 {
		return size <= -threshold
	}

	return size >= threshold
}
