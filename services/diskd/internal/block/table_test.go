package block

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/siderolabs/go-blockdevice/v2/partitioning/gpt"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

// memory is a disk in memory that remembers its writes; nothing of it is real.
type memory struct {
	data   []byte
	writes []write
}

type write struct {
	data   []byte
	offset int64
}

func (m *memory) ReadAt(b []byte, offset int64) (int, error) { return copy(b, m.data[offset:]), nil }

func (m *memory) WriteAt(b []byte, offset int64) (int, error) {
	m.writes = append(m.writes, write{bytes.Clone(b), offset})

	return copy(m.data[offset:], b), nil
}

func (m *memory) GetSectorSize() uint                             { return 512 }
func (m *memory) GetSize() uint64                                 { return uint64(len(m.data)) }
func (m *memory) GetIOSize() (uint, error)                        { return 512, nil }
func (m *memory) Sync() error                                     { return nil }
func (m *memory) GetKernelLastPartitionNum() (int, error)         { return 0, nil }
func (m *memory) KernelPartitionAdd(int, uint64, uint64) error    { return nil }
func (m *memory) KernelPartitionResize(int, uint64, uint64) error { return nil }
func (m *memory) KernelPartitionDelete(int) error                 { return nil }

// contents renders a table, "" when there is none that can be read.
func contents(data []byte) string {
	table, err := gpt.Read(&memory{data: data})
	if err != nil {
		return ""
	}

	var b strings.Builder

	for i, p := range table.Partitions() {
		if p != nil {
			fmt.Fprintf(&b, "%d %s %d-%d %x\n", i+1, p.Name, p.FirstLBA, p.LastLBA, p.Flags)
		}
	}

	return b.String()
}

const diskSize = 16 << 20

func twoPartitions(t *testing.T) []byte {
	t.Helper()

	m := &memory{data: make([]byte, diskSize)}

	table, err := gpt.New(m)
	if err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"META", "STATE"} {
		if _, _, err := table.AllocatePartition(2<<20, name, uuid.MustParse("0fc63daf-8483-4772-8e79-3d69d8477de4")); err != nil {
			t.Fatal(err)
		}
	}

	if err := table.Write(); err != nil {
		t.Fatal(err)
	}

	return m.data
}

func mark(table *gpt.Table) error {
	table.Partitions()[1].Flags |= wipeFlag

	return nil
}

// cuts calls check with the disk as it is after each sector of the writes.
func cuts(before []byte, writes []write, check func(disk []byte)) {
	disk := bytes.Clone(before)

	for _, w := range writes {
		for done := 0; done < len(w.data); done += 512 {
			check(disk)
			copy(disk[w.offset+int64(done):], w.data[done:min(done+512, len(w.data))])
		}
	}

	check(disk)
}

// Whatever sector of a table's writes is the last one, the table is the old one or the new one, and can be altered again;
// so it is when that is cut, too.
func TestTableCutAtEverySector(t *testing.T) {
	before := twoPartitions(t)
	old := contents(before)

	done := &memory{data: bytes.Clone(before)}
	if err := change(done, mark); err != nil {
		t.Fatal(err)
	}

	changed := contents(done.data)
	if old == changed || old == "" || !strings.Contains(changed, "2 STATE 6144-10239 80000000000000") {
		t.Fatalf("%q became %q", old, changed)
	}

	checked := 0
	check := func(disk []byte) {
		checked++

		if got := contents(disk); got != old && got != changed {
			t.Fatalf("cut %d: %q", checked, got)
		}
	}

	cuts(before, done.writes, func(disk []byte) {
		check(disk)

		again := &memory{data: bytes.Clone(disk)}
		if err := change(again, mark); err != nil || contents(again.data) != changed {
			t.Fatalf("cut %d: changed again: %q %v", checked, contents(again.data), err)
		}

		// The second cut at the ends of the writes only: sectors would take a minute.
		torn := bytes.Clone(disk)
		for _, w := range again.writes {
			copy(torn[w.offset:], w.data[:min(512, len(w.data))])
			check(torn)
			copy(torn[w.offset:], w.data)
			check(torn)
		}
	})

	t.Logf("%d states of the disk", checked)
}

func TestContentOf(t *testing.T) {
	for name, c := range map[string]struct {
		at   int
		text string
		want string
	}{
		"blank": {0, "", ""}, "data": {1000, "x", "unknown"}, "data at the end": {diskSize - 1, "x", "unknown"},
		"in the middle": {diskSize / 2, "x", ""}, "partitioning was begun": {markerOffset, markerText, "installing"},
	} {
		data := make([]byte, diskSize)
		copy(data[c.at:], c.text)

		if got, err := contentOf(bytes.NewReader(data), diskSize); err != nil || got != c.want {
			t.Errorf("%s: %q %v, want %q", name, got, err, c.want)
		}
	}
}

func TestMountsOver(t *testing.T) {
	all := mountinfo.Parse(`1 0 0:1 / / rw - rootfs none rw
2 1 254:5 / /system/state rw - ext4 /dev/vda5 rw
3 1 254:6 / /var rw - ext4 /dev/vda6 rw
4 3 254:17 / /var/lib/extra rw - ext4 /dev/vdb1 rw
5 1 254:6 /lib /opt rw - ext4 /dev/vda6 rw
6 1 0:9 / /various rw - tmpfs none rw
`)
	got := mountsOver(all, []disk.Part{{Major: 254, Minor: 6}})

	if want := []string{"/opt", "/var/lib/extra", "/var"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
