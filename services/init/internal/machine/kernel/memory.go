package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Files of the kernel's memory management, below the root.
const (
	hugePages = "sys/kernel/mm/transparent_hugepage/enabled"
	reserve   = "proc/sys/vm/min_free_kbytes"
)

// SaveMemory leaves transparent huge pages to programs that ask for them (madvise): given to everyone, the small heaps of
// daemons grow to 2 MiB steps, and the kernel keeps some 45 MB free for making them. A kernel without huge pages has nothing
// to save.
func SaveMemory(root string) error {
	pages, free := filepath.Join(root, hugePages), filepath.Join(root, reserve)

	chosen, err := os.ReadFile(pages)
	if errors.Is(err, os.ErrNotExist) || err == nil && !bytes.Contains(chosen, []byte("[always]")) {
		return nil
	}

	// Without any, the kernel reckons its reserve anew. With some it raises it again, so the figure is put back last.
	err = errors.Join(err, os.WriteFile(pages, []byte("never\n"), 0))
	figure, readErr := os.ReadFile(free)
	err = errors.Join(err, readErr, os.WriteFile(pages, []byte("madvise\n"), 0))

	if err == nil {
		err = os.WriteFile(free, figure, 0)
	}

	if err != nil {
		return fmt.Errorf("leave huge pages to those that ask: %w", err)
	}

	return nil
}
