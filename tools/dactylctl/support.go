package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/tools/internal/client"
	"github.com/dactyl-os/dactyl/tools/internal/progress"
)

func (a *app) supportCommand() *cobra.Command {
	var (
		workers int
		output  string
		verbose bool
	)
	cmd := &cobra.Command{
		Use: "support", Short: "Collect in a zip file what helps to find a fault: logs, services, resources, tables; no secrets", Args: cobra.NoArgs,
		Long: `Collect in a zip file what helps to find a fault: a folder for each node with logs, services and their events, what the other
commands print, and every resource that is not sensitive. Secrets are left out: the machine configuration with its keys, sensitive
resources, and private keys within others. What could not be had is named in errors.txt.`,
		Example: "  dactylctl -n 10.5.0.2,10.5.0.3,10.5.0.5 support -O fault.zip\n  dactylctl -n 10.5.0.2 support -O - | bsdtar tf -",
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, done, err := a.newFile(output)
			if err != nil {
				return err
			}

			return done(a.connect(cmd, func(ctx context.Context, c *client.Client) error {
				return a.support(ctx, c, out, max(workers, 1), verbose)
			}))
		},
	}
	cmd.Flags().IntVarP(&workers, "num-workers", "w", 1, "how many nodes to ask at once")
	cmd.Flags().StringVarP(&output, "output", "O", "support.zip", "file to write, - is the standard output")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "name every file as it is collected")

	return cmd
}

// newFile opens a file that is not there yet; done closes it, and removes it when nothing is worth keeping.
func (a *app) newFile(name string) (out io.Writer, done func(error) error, err error) {
	if name == "-" {
		return a.out, func(err error) error { return err }, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, nil, fmt.Errorf("%s is there already: remove it, or name another file", name)
	}
	if err != nil {
		return nil, nil, err
	}

	return f, func(err error) error {
		at, _ := f.Seek(0, io.SeekCurrent)
		err = errors.Join(err, f.Close())
		if at <= emptyZip && err != nil {
			return errors.Join(err, os.Remove(name))
		}

		return err
	}, nil
}

// emptyZip is the size of an archive without files.
const emptyZip = 22

// support writes the archive; a node that does not answer costs the others nothing.
func (a *app) support(ctx context.Context, c *client.Client, out io.Writer, workers int, verbose bool) error {
	var (
		group  sync.WaitGroup
		bundle = &bundle{archive: zip.NewWriter(out), board: progress.New(a.err), verbose: verbose}
		places = make(chan struct{}, workers)
		failed = make([]error, len(c.Targets()))
	)
	for i, node := range c.Targets() {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			if err := a.collect(c.ToNode(ctx, node), c, node, bundle); err != nil {
				failed[i] = atNode(node, err)
			}
		})
	}
	group.Wait()

	return errors.Join(errors.Join(failed...), bundle.archive.Close())
}

// bundle is the archive that is being written.
type bundle struct {
	mu      sync.Mutex
	archive *zip.Writer
	board   *progress.Board
	verbose bool
}

func (b *bundle) add(node, name string, content []byte) error {
	if b.verbose {
		b.board.Set(node, name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w, err := b.archive.CreateHeader(&zip.FileHeader{Name: path.Join(strings.ReplaceAll(node, ":", "_"), name), Method: zip.Deflate, Modified: time.Now()})
	if err != nil {
		return err
	}
	_, err = w.Write(content)

	return err
}

// tables are the commands whose output goes into a bundle as it is.
var tables = []struct{ file, command string }{
	{"version.txt", "version"}, {"daemons.txt", "version --daemons"}, {"services.txt", "service"}, {"members.txt", "get members"}, {"dmesg.log", "dmesg"}, {"memory.txt", "memory -v"},
	{"mounts.txt", "mounts"}, {"netstat.txt", "netstat -apo"}, {"disks.txt", "disks"}, {"processes.txt", "processes"}, {"stats.txt", "stats"}, {"time.txt", "time"},
	{"dependencies.dot", "inspect dependencies"}, {"etcd-members.txt", "etcd members"}, {"etcd-status.txt", "etcd status"}, {"etcd-alarms.txt", "etcd alarm list"},
}

// collect takes what one node has.
func (a *app) collect(ctx context.Context, c *client.Client, node string, b *bundle) error {
	quick, cancel := context.WithTimeout(ctx, quickly)
	defer cancel()
	if _, err := c.Machine.Version(quick, &emptypb.Empty{}); err != nil {
		return err
	}
	b.board.Set(node, "collecting")
	var missing []string
	take := func(file string, args ...string) error {
		content, err := a.output(ctx, node, args...)
		if err != nil {
			missing = append(missing, file+": "+oneLine(err.Error()))
		}
		if len(content) == 0 {
			return nil
		}

		return b.add(node, file, content)
	}
	for _, t := range tables {
		if err := take(t.file, strings.Fields(t.command)...); err != nil {
			return err
		}
	}
	one := *a
	one.options.Nodes = []string{node}
	for _, name := range one.logNames(ctx) {
		if err := take("logs/"+name+".log", "logs", name); err != nil {
			return err
		}
	}
	for _, name := range one.serviceNames(ctx) {
		if err := take("services/"+name+".txt", "service", name); err != nil {
			return err
		}
	}
	for _, typ := range openTypes(quick, c) {
		if err := take("resources/"+typ+".yaml", "get", typ, "-o", "yaml"); err != nil {
			return err
		}
	}
	b.board.Set(node, "done")
	if len(missing) == 0 {
		return nil
	}

	return b.add(node, "errors.txt", []byte(strings.Join(missing, "\n")+"\n"))
}

// output is what a command of this client prints of one node, without secrets.
func (a *app) output(ctx context.Context, node string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	one := &app{in: strings.NewReader(""), out: &out, err: io.Discard}
	root := one.root()
	one.options = a.options
	one.options.Nodes = []string{node}
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(io.Discard)
	err := root.ExecuteContext(ctx)

	return secret.ReplaceAll(out.Bytes(), []byte("${1}left out")), err
}

// secret is a field of a resource whose value nobody else may know, such as a WireGuard key within a link.
var secret = regexp.MustCompile(`(?mi)^(\s*(?:- )?\w*(?:privateKey|preSharedKey|encryptionKey|password|token|secret)\w*: *)\S.*$`)

// openTypes are the resource types that are not sensitive.
func openTypes(ctx context.Context, c *client.Client) []string {
	definitions, err := listDefinitions(ctx, c)
	if err != nil {
		return nil
	}
	var types []string
	for _, d := range definitions {
		if d.Sensitivity == "" {
			types = append(types, d.id())
		}
	}
	slices.Sort(types)

	return types
}
