package vm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/types/known/emptypb"

	definitions "github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/block"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/client"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// POWERCUTS is how many there shall be; POWERCUT_SEED repeats the moments of a run that failed; with POWERCUT_DISK=image the
// disk has no write cache of its own: what QEMU wrote is then safe in the page cache of the host, flushed or not.
// POWERCUT_PAUSE is a command that runs while the power is off, where virtual machines take turns.
const (
	cutsVariable = "POWERCUTS"
	seedVariable = "POWERCUT_SEED"
	diskVariable = "POWERCUT_DISK"

	pauseVariable = "POWERCUT_PAUSE"
)

// trouble is what no console may show after a power cut.
var trouble = []string{
	"panic:", "goroutine ", "Kernel panic", "Call Trace", "SIGSEGV", "UNEXPECTED INCONSISTENCY", "EXT4-fs error", "I/O error", "was repaired",
}

// powerCuts is one machine that loses its power again and again.
type powerCuts struct {
	*node
	random  *rand.Rand
	db      *clientv3.Client
	writers []*writer
	// rest ends the writers.
	rest  func()
	known string

	powered  time.Time
	answered string
	console  int
	cuts     int
	toAPI    []time.Duration
	checked  int
}

// TestPowerCuts takes the power from a control plane at random moments while META and its configuration are written, and
// large and small values to etcd on EPHEMERAL: whatever it acknowledged is there afterwards, byte for byte.
func TestPowerCuts(t *testing.T) {
	count := 50
	if testing.Short() {
		count = 3
	}

	count = number(t, cutsVariable, count)
	p := &powerCuts{random: moments(t)}

	loseCaches(t)
	p.node = start(t, "--config-patch", countedPatch).nodes[0]
	p.powered = time.Now()
	p.awaitAPI(t)
	p.db = p.etcd(t)
	p.known = p.identity(t)
	p.writers = p.makeWriters(t)

	for p.cuts < count {
		p.cut(t)
	}

	p.awaitAPI(t)
	p.check(t, true)
	p.report(t)
}

// cut lets the machine boot and write, and takes its power at some moment of that.
func (p *powerCuts) cut(t *testing.T) {
	t.Helper()

	kind := p.random.IntN(10)

	switch {
	case kind < 2 && p.cuts > 0:
		time.Sleep(p.duration(25 * time.Second))
		p.take(t, "while it boots")

		return
	case kind < 3 && p.cuts > 0:
		p.awaitAPI(t)
		p.take(t, "as the API answers")

		return
	}

	p.awaitAPI(t)
	p.check(t, false)

	p.write(t)

	if kind < 6 {
		time.Sleep(p.duration(10 * time.Second))
		p.take(t, "while it writes")

		return
	}

	w := p.writers[p.random.IntN(len(p.writers))]
	w.await(t, 1+p.random.IntN(w.many))
	time.Sleep(p.duration(5 * time.Millisecond))
	p.take(t, "after it acknowledged "+w.name)
}

func (p *powerCuts) duration(limit time.Duration) time.Duration {
	return time.Duration(p.random.Int64N(int64(limit)))
}

// take takes the power and gives it back.
func (p *powerCuts) take(t *testing.T, moment string) {
	t.Helper()

	p.cuts++
	p.console = p.mark(t)
	p.whileOff(t, func() error {
		t.Logf("cut %d: %s, %.3f s after power on (API: %s)", p.cuts, moment, time.Since(p.powered).Seconds(), p.answered)

		if pause := os.Getenv(pauseVariable); pause != "" {
			return exec.CommandContext(t.Context(), pause).Run()
		}

		return nil
	})
}

// whileOff takes the power, does something and gives the power back. Its supervisor, which would do that at once, sleeps
// meanwhile.
func (p *powerCuts) whileOff(t *testing.T, do func() error) {
	t.Helper()

	before, err := p.BootID()
	if err != nil {
		t.Fatal(err)
	}

	supervisor, err := p.SupervisorPID()
	if err != nil {
		t.Fatal(err)
	}

	if err := syscall.Kill(supervisor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	p.powerCut(t)

	if p.rest != nil {
		p.rest()
	}

	if err := errors.Join(do(), syscall.Kill(supervisor, syscall.SIGCONT)); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, time.Minute, "the next boot", func() bool {
		now, err := p.BootID()

		return err == nil && now != before
	})

	p.powered, p.answered = time.Now(), "not yet"
}

// awaitAPI waits until the machine answers its admin.
func (p *powerCuts) awaitAPI(t *testing.T) {
	t.Helper()
	kittest.AwaitNoError(t, bootLimit, func() error {
		return p.ask(t, version)
	})

	took := time.Since(p.powered)
	p.answered = fmt.Sprintf("after %.1f s", took.Seconds())

	if p.cuts > 0 {
		p.toAPI = append(p.toAPI, took)
	}
}

func version(ctx context.Context, c *client.Client) error {
	_, err := c.Machine.Version(ctx, &emptypb.Empty{})

	return err
}

// ask asks over a connection of its own, for a little while.
func (p *powerCuts) ask(t *testing.T, question func(context.Context, *client.Client) error) error {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	defer cancel()

	c, err := p.Client()
	if err != nil {
		return err
	}
	defer c.Close()

	return question(ctx, c)
}

// check compares the machine with what it was and with what it acknowledged.
func (p *powerCuts) check(t *testing.T, all bool) {
	t.Helper()

	if p.cuts == 0 {
		return
	}

	if now := p.identity(t); now != p.known {
		t.Errorf("after cut %d it is another machine: %s, not %s", p.cuts, now, p.known)
	}

	kittest.AwaitNoError(t, bootLimit, func() error { return p.ask(t, volumesReady) })

	for _, w := range p.writers {
		checked, err := w.check(t.Context(), all)
		p.checked += checked

		if err != nil {
			t.Errorf("after cut %d, %s: %v", p.cuts, w.name, err)
		}
	}

	p.quiet(t)

	p.node.awaitConsole(t, p.console, "the boot before ended with power cut")

	if t.Failed() {
		t.FailNow()
	}
}

// quiet looks for trouble on the console and in the log of diskd.
func (p *powerCuts) quiet(t *testing.T) {
	t.Helper()

	said := p.node.console(t, p.console) + p.ctl(t, "logs", "diskd")

	for line := range strings.Lines(said) {
		if slices.ContainsFunc(trouble, func(text string) bool { return strings.Contains(line, text) }) {
			t.Errorf("after cut %d: %s", p.cuts, line)
		}
	}
}

// identity is what makes the machine the one it was: its name in the cluster, and etcd's for its member.
func (p *powerCuts) identity(t *testing.T) string {
	t.Helper()

	var text string

	kittest.AwaitNoError(t, bootLimit, func() error {
		return p.ask(t, func(ctx context.Context, c *client.Client) error {
			node, err := safe.StateGetByID[*cluster.Identity](ctx, state.WrapCore(c.State), cluster.LocalIdentityID)
			if err != nil {
				return err
			}

			etcd, err := p.db.Status(ctx, p.db.Endpoints()[0])
			if err != nil {
				return err
			}

			text = fmt.Sprintf("node %s, member %x of %x", node.TypedSpec().NodeID, etcd.Header.MemberId, etcd.Header.ClusterId)

			return nil
		})
	})

	return text
}

func volumesReady(ctx context.Context, c *client.Client) error {
	list, err := safe.StateListAll[*block.VolumeStatus](ctx, state.WrapCore(c.State))
	if err != nil {
		return err
	}

	want := map[string]bool{"META": true, "STATE": true, "EPHEMERAL": true}

	for v := range list.All() {
		if v.TypedSpec().Phase == enums.VolumePhaseReady {
			delete(want, v.Metadata().ID())
		}

		if v.TypedSpec().ErrorMessage != "" {
			return fmt.Errorf("volume %s: %s", v.Metadata().ID(), v.TypedSpec().ErrorMessage)
		}
	}

	if len(want) > 0 {
		return fmt.Errorf("volumes that are not ready: %v", want)
	}

	return nil
}

func (p *powerCuts) report(t *testing.T) {
	t.Helper()
	slices.Sort(p.toAPI)

	var sent, acknowledged int

	for _, w := range p.writers {
		sent, acknowledged = sent+w.sent, acknowledged+len(w.acknowledged)
		t.Logf("%s: %d sent, %d acknowledged", w.name, w.sent, len(w.acknowledged))
	}

	t.Logf("%d cuts, %d boots to the API in %.1f s (median) and %.1f s (worst), %d writes sent, %d acknowledged, %d checks, 0 lost",
		p.cuts, len(p.toAPI), p.toAPI[len(p.toAPI)/2].Seconds(), p.toAPI[len(p.toAPI)-1].Seconds(), sent, acknowledged, p.checked)
}

// loseCaches puts disks with a volatile write cache before QEMU.
func loseCaches(t *testing.T) {
	t.Helper()

	if os.Getenv(diskVariable) == "image" {
		return
	}

	dir := t.TempDir()
	outside.Must(t, outside.Run(t.Context(), "go", "build", "-o", filepath.Join(dir, "qemu-system-x86_64"), "./volatile"))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))

	if path, err := exec.LookPath("qemu-system-x86_64"); err != nil || filepath.Dir(path) != dir {
		t.Fatalf("QEMU would be %s: %v", path, err)
	}
}

// moments begins a test: it says by which seed it can be repeated.
func moments(t *testing.T) *rand.Rand {
	t.Helper()

	if err := definitions.Register(); err != nil {
		t.Fatal(err)
	}

	seed := number(t, seedVariable, int(time.Now().UnixNano()%1e9))
	t.Logf("%s=%d repeats these moments", seedVariable, seed)

	return rand.New(rand.NewPCG(uint64(seed), 0))
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()

	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}

	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}

	return n
}
