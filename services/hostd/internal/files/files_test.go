package files_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/hostd/internal/files"
)

// tree has a file of each kind.
func tree(t *testing.T) (files.Root, string) {
	t.Helper()

	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o640)); err != nil {
			t.Fatal(err)
		}
	}

	write("etc/hosts", "127.0.0.1 localhost\n")
	write("var/log/a.log", strings.Repeat("a", 5000))
	write("var/log/old/b.log", strings.Repeat("b", 200_000))
	write("var/empty", "")

	err := errors.Join(
		os.Symlink("log/a.log", filepath.Join(dir, "var/link")),
		os.Symlink("/nowhere", filepath.Join(dir, "var/dangling")),
		os.Symlink("var", filepath.Join(dir, "v")),
		os.Link(filepath.Join(dir, "var/log/old/b.log"), filepath.Join(dir, "var/log/hard")),
		exec.Command("mkfifo", filepath.Join(dir, "var/fifo")).Run(),
	)
	if err != nil {
		t.Fatal(err)
	}

	return files.Root(dir), dir
}

func list(t *testing.T, root files.Root, path string, o files.ListOptions) []*machine.FileInfo {
	t.Helper()

	var out []*machine.FileInfo

	err := root.List(t.Context(), path, o, func(f *machine.FileInfo) error {
		out = append(out, f)

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return out
}

func TestListAgreesWithFind(t *testing.T) {
	root, dir := tree(t)

	for _, test := range []struct {
		path string
		o    files.ListOptions
		find []string
	}{
		{"/", files.ListOptions{Depth: 1}, []string{dir, "-maxdepth", "1"}},
		{"/", files.ListOptions{Depth: -1}, []string{dir}},
		{"/var", files.ListOptions{Depth: 2}, []string{dir + "/var", "-maxdepth", "2"}},
		{"/", files.ListOptions{Depth: -1, Types: []machine.ListRequest_Type{machine.ListRequest_REGULAR}}, []string{dir, "-type", "f"}},
		{"/", files.ListOptions{Depth: -1, Types: []machine.ListRequest_Type{machine.ListRequest_DIRECTORY, machine.ListRequest_SYMLINK}}, []string{dir, "(", "-type", "d", "-o", "-type", "l", ")"}},
		{"/etc/hosts", files.ListOptions{Depth: 1}, []string{dir + "/etc/hosts"}},
	} {
		out, err := exec.Command("find", append(test.find, "-printf", "%p %s %T@ %U %G %l\n")...).Output()
		if err != nil {
			t.Fatal(err)
		}

		var want, got []string

		for line := range strings.Lines(string(out)) {
			f := strings.Split(strings.TrimRight(line, "\n"), " ")
			name := strings.TrimPrefix(f[0], dir)
			seconds, _, _ := strings.Cut(f[2], ".")
			want = append(want, fmt.Sprint(orSlash(name), f[1], seconds, f[3], f[4], f[5]))
		}

		for _, f := range list(t, root, test.path, test.o) {
			got = append(got, fmt.Sprint(f.GetName(), fmt.Sprint(f.GetSize()), fmt.Sprint(f.GetModified()), fmt.Sprint(f.GetUid()), fmt.Sprint(f.GetGid()), f.GetLink()))
		}

		slices.Sort(want)
		slices.Sort(got)

		if !slices.Equal(got, want) {
			t.Errorf("%s %+v:\ngot  %q\nwant %q", test.path, test.o, got, want)
		}
	}
}

func orSlash(name string) string {
	if name == "" {
		return "/"
	}

	return name
}

func TestListDetails(t *testing.T) {
	root, _ := tree(t)

	byName := map[string]*machine.FileInfo{}
	for _, f := range list(t, root, "/v", files.ListOptions{Depth: 1}) {
		byName[f.GetRelativeName()] = f
	}

	if f := byName["."]; f == nil || !f.GetIsDir() || f.GetName() != "/v" {
		t.Errorf("the link that was asked for is not followed: %v", f)
	}

	if f := byName["link"]; f.GetLink() != "log/a.log" || fs.FileMode(f.GetMode())&fs.ModeSymlink == 0 || f.GetName() != "/v/link" {
		t.Errorf("link: %v", f)
	}

	if f := byName["dangling"]; f.GetLink() != "/nowhere" || f.GetError() != "" {
		t.Errorf("dangling link: %v", f)
	}

	if f := byName["fifo"]; fs.FileMode(f.GetMode())&fs.ModeNamedPipe == 0 {
		t.Errorf("pipe: %v", f)
	}

	if f := list(t, root, "/etc/hosts", files.ListOptions{Depth: 1}); len(f) != 1 || f[0].GetRelativeName() != "hosts" || f[0].GetMode() != 0o640 {
		t.Errorf("one file: %v", f)
	}
}

func TestPathsStayInside(t *testing.T) {
	root, dir := tree(t)
	for _, path := range []string{"/../../../etc/hosts", "../etc/hosts", "etc//hosts", "/etc/./hosts", "/var/../etc/hosts"} {
		if got, err := root.Resolve(path); err != nil || got != filepath.Join(dir, "etc/hosts") {
			t.Errorf("%s: %s %v", path, got, err)
		}
	}

	if _, err := root.Resolve("/etc\x00"); err == nil {
		t.Error("a NUL is taken")
	}
}

func TestUsageAgreesWithDu(t *testing.T) {
	root, dir := tree(t)

	for _, test := range []struct {
		path string
		o    files.UsageOptions
		du   []string
	}{
		{"/", files.UsageOptions{Depth: 0}, []string{"-d", "0", dir}},
		{"/", files.UsageOptions{Depth: 1}, []string{"-d", "1", dir}},
		{"/var", files.UsageOptions{Depth: -1}, []string{dir + "/var"}},
		{"/", files.UsageOptions{Depth: -1, All: true}, []string{"-a", dir}},
		{"/", files.UsageOptions{Depth: -1, All: true, Threshold: 5000}, []string{"-a", "-t", "5000", dir}},
		{"/", files.UsageOptions{Depth: -1, All: true, Threshold: -5000}, []string{"-a", "-t", "-5000", dir}},
	} {
		out, err := exec.Command("du", append([]string{"-b"}, test.du...)...).Output()
		if err != nil {
			t.Fatal(err)
		}

		var want, got []string

		for line := range strings.Lines(string(out)) {
			size, name, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
			want = append(want, orSlash(strings.TrimPrefix(name, dir))+" "+size)
		}

		err = root.Usage(t.Context(), test.path, test.o, func(u *machine.DiskUsageInfo) error {
			got = append(got, fmt.Sprintf("%s %d", u.GetName(), u.GetSize()))

			return nil
		})
		if err != nil {
			t.Fatal(err)
		}

		// Which name of a file with two counts is up to the order of the directory.
		slices.Sort(want)
		slices.Sort(got)

		if hard := func(s string) bool {
			return strings.Contains(s, "hard") || strings.Contains(s, "b.log") || strings.Contains(s, "/old")
		}; test.o.All {
			want, got = slices.DeleteFunc(want, hard), slices.DeleteFunc(got, hard)
		}

		if !slices.Equal(got, want) {
			t.Errorf("%s %+v:\ngot  %q\nwant %q", test.path, test.o, got, want)
		}
	}
}

func TestArchive(t *testing.T) {
	root, _ := tree(t)

	var out bytes.Buffer
	if err := root.Archive(t.Context(), "/", &out); err != nil {
		t.Fatal(err)
	}

	got := untar(t, &out)
	if got["var/log/old/b.log"] != strings.Repeat("b", 200_000) || got["etc/hosts"] != "127.0.0.1 localhost\n" || got["var/link"] != "-> log/a.log" {
		t.Errorf("archive has %d entries, or wrong ones", len(got))
	}

	if _, there := got["var/fifo"]; there {
		t.Error("a pipe is in the archive")
	}

	for name := range got {
		if clean := filepath.Clean(name); clean == "." || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "./") {
			t.Errorf("the archive has an entry %q", name)
		}
	}

	out.Reset()

	if err := root.Archive(t.Context(), "/etc/hosts", &out); err != nil {
		t.Fatal(err)
	}

	if got = untar(t, &out); len(got) != 1 || got["hosts"] != "127.0.0.1 localhost\n" {
		t.Errorf("one file: %v", got)
	}
}

func untar(t *testing.T, r io.Reader) map[string]string {
	t.Helper()

	zip, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}

	out := map[string]string{}

	for archive := tar.NewReader(zip); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}

		if err != nil {
			t.Fatal(err)
		}

		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}

		if out[header.Name] = string(data); header.Typeflag == tar.TypeSymlink {
			out[header.Name] = "-> " + header.Linkname
		}
	}
}

// A file that grows or shrinks while it is archived leaves a whole archive.
func TestArchiveOfProc(t *testing.T) {
	var out bytes.Buffer
	if err := files.Root("/").Archive(t.Context(), "/proc/self/net", &out); err != nil {
		t.Fatal(err)
	}

	untar(t, &out)
}

func TestOpenAndSend(t *testing.T) {
	root, _ := tree(t)

	file, err := root.Open("/v/log/old/b.log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	total := 0

	err = files.Send(t.Context(), file, func(b []byte) error {
		if len(b) > files.Chunk {
			t.Errorf("chunk of %d bytes", len(b))
		}

		total += len(b)

		return nil
	})
	if err != nil || total != 200_000 {
		t.Errorf("%d bytes, %v", total, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if err = files.Send(ctx, file, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the caller left: %v", err)
	}

	for path, want := range map[string]error{"/var": files.ErrNotRegular, "/var/fifo": files.ErrNotRegular, "/none": fs.ErrNotExist, "/var/dangling": fs.ErrNotExist} {
		if _, err = root.Open(path); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
