package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	mayRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	mayWrite = mayRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REFER
	mayRun = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE
	// onFiles are the rights that a rule about a single file may give.
	onFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// Landlock is what the kernel can do for `reads` and `writes`: the version of its interface, 0 for none at all.
type Landlock int

// OpenLandlock asks the kernel. The error says why there is nothing; daemons then run without that wall.
func OpenLandlock() (Landlock, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, fmt.Errorf("no Landlock (CONFIG_SECURITY_LANDLOCK, and landlock in lsm= on the kernel's command line): %w", errno)
	}

	return Landlock(version), nil
}

// handled are the rights that this kernel knows: what it handles and no rule gives is refused.
func (l Landlock) handled() uint64 {
	bits := 13

	switch {
	case l >= 5:
		bits = 16
	case l >= 3:
		bits = 15
	case l == 2:
		bits = 14
	}

	return 1<<bits - 1
}

// box makes the rules for one daemon: what it may read and write and the one program it may run. A path that is not there
// allows nothing: what is to be made later needs its directory in the list. nil when the kernel has no Landlock.
func (l Landlock) box(program string, reads, writes []string) (*os.File, error) {
	if l == 0 {
		return nil, nil
	}

	// The first field of struct landlock_ruleset_attr, and all of it that every version has.
	files := l.handled()

	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&files)), unsafe.Sizeof(files), 0)
	if errno != 0 {
		return nil, fmt.Errorf("make Landlock rules: %w", errno)
	}

	box := os.NewFile(fd, "landlock")
	errs := []error{l.allow(box, program, mayRun)}

	for _, path := range reads {
		errs = append(errs, l.allow(box, path, mayRead))
	}

	for _, path := range writes {
		errs = append(errs, l.allow(box, path, mayWrite))
	}

	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, box.Close())
	}

	return box, nil
}

func (l Landlock) allow(box *os.File, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}

	if err != nil {
		return fmt.Errorf("allow %s: %w", path, err)
	}
	defer unix.Close(fd)

	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("allow %s: %w", path, err)
	}

	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= onFiles
	}

	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights & l.handled(), Parent_fd: int32(fd)}

	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, box.Fd(), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("allow %s: %w", path, errno)
	}

	return nil
}

// enter puts the calling thread, and all that it makes from now on, into a box. Nothing leaves it.
func enter(box *os.File) error {
	if box == nil {
		return nil
	}

	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, box.Fd(), 0, 0); errno != 0 {
		return fmt.Errorf("enter Landlock rules: %w", errno)
	}

	return nil
}
