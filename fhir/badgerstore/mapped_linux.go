package badgerstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapped lists where the files of the database are mapped.
func (s *Store) mapped() ([]stretch, error) {
	list, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	defer func() { _ = list.Close() }()
	return findMapped(list, s.dir)
}

// letGo drops the pages of a shared mapping of a file; what was written to them
// stays in the page cache and reaches the disk as before.
func (m stretch) letGo() error {
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
	if errno != 0 {
		return errno
	}
	return nil
}
