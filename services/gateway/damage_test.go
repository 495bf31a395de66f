package gateway_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"

	"github.com/dactyl-os/dactyl/proto/resource/config"
)

// How many damages there are and what they begin with; without them it is some dozen, another each time.
const (
	damagesVariable = "DACTYL_DAMAGES"
	seedVariable    = "DACTYL_DAMAGES_SEED"
)

// house is the part of a node that decides whether the door opens, each daemon the real one.
// ear is an init that hears what daemons report to it, and answers Version.
// damage is what happens to one file.
// TestDamagedFiles damages what a node keeps in its state directory and its run directory, again and again, and starts it: it is
// as it was, or says why not, and it never lets in a stranger.
func TestDamagedFiles(t *testing.T) {
	rounds, seed := 24, uint64(time.Now().UnixNano())

	for name, set := range map[string]func(uint64){
		damagesVariable: func(v uint64) { rounds = int(v) }, seedVariable: func(v uint64) { seed = v },
	} {
		if text := os.Getenv(name); text != "" {
			v, err := strconv.ParseUint(text, 10, 63)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}

			set(v)
		}
	}

	t.Logf("%s=%d %s=%d", damagesVariable, rounds, seedVariable, seed)

	h := build(t)
	random := rand.New(rand.NewPCG(seed, 0))
	outcomes := map[string]int{}

	for i := range rounds {
		damages, boot := h.choose(random)

		outcome, err := h.suffer(t, damages, boot)
		outcomes[outcome]++

		var words []string
		for _, d := range damages {
			words = append(words, d.file+" "+d.kind)
		}

		if err != nil {
			t.Fatalf("round %d of seed %d, boot %v, %s: %v", i, seed, boot, strings.Join(words, ", "), err)
		}
	}

	if log := h.daemons["gateway"].Log()[h.configured:]; strings.Contains(log, "maintenance mode:") {
		t.Error("the door was open")
	}

	t.Logf("%d rounds: %v", rounds, outcomes)

	h.nothing(t)
}

// network plays networkd: trustd waits for the node's name and addresses.
// configure makes a machine configuration and applies it.
// certify makes the administrator's connection.
// remember waits until all files are there and keeps what is in them.
// choose takes one to three files, sometimes others that are not there when all is well.
// suffer kills all, damages what was whole and starts all again.
func (h *house) suffer(t *testing.T, damages []damage, boot bool) (string, error) {
	t.Helper()

	logs := map[string]int{}
	for name, d := range h.daemons {
		d.Kill()

		logs[name] = len(d.Log())
	}

	h.init.forget()
	h.restore(t, boot)

	for _, d := range damages {
		if err := d.how(d.file); err != nil {
			t.Fatal(err)
		}
	}

	for _, d := range h.daemons {
		d.Launch()
	}

	for _, d := range h.daemons {
		d.AwaitServing()
	}

	outcome, err := h.settled(t)
	if err != nil {
		return outcome, err
	}

	if outcome != "as it was" && !both(damages, "config.yaml", "config.good") {
		return outcome, errors.New("one of the two files of the configuration should do")
	}

	if id := h.identity(t); id != h.id && !both(damages, "node-identity.yaml", "node-identity.good") {
		return outcome, errors.New("one of the two files of the identity should do")
	}

	said := func(name string) string { return h.daemons[name].Log()[logs[name]:] }

	for _, d := range damages {
		if err := told(d, boot, said); err != nil {
			return outcome, err
		}
	}

	return outcome, nil
}

// restore makes all files what they were; after a boot there is nothing in the run directory.
// settled waits until the node is as it was, or says why it is not.
func (h *house) settled(t *testing.T) (outcome string, err error) {
	t.Helper()

	configd := state.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(h.daemons["configd"].Conn())))

	kind, err := safe.StateGetByID[*config.MachineType](within(t, 20*time.Second), configd, config.MachineTypeID)

	switch {
	case state.IsNotFoundError(err):
		outcome = "kept shut"
		err = within20(func() error {
			if heard := h.init.heard(); !strings.HasPrefix(heard, "Failed: ") || !strings.Contains(heard, "kept shut") {
				return fmt.Errorf("init heard %q", heard)
			}

			return nil
		})
	case err != nil:
		return "no answer", err
	case kind.TypedSpec().Value.String() != "controlplane":
		return "open", fmt.Errorf("configd says that this is a machine of type %s", kind.TypedSpec().Value)
	default:
		outcome = "as it was"
		err = within20(func() error { return version(within(t, 5*time.Second), h.admin) })
	}

	if err != nil {
		return outcome, err
	}

	// Whether the door was open at any time is in the gateway's log; this one knocks.
	if err := version(within(t, 100*time.Millisecond), h.connect(t, stranger())); err == nil {
		return outcome, errors.New("a stranger was let in")
	}

	return outcome, nil
}

func within20(check func() error) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := check(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// both tells whether two files are damaged.
// told wants a word in the log of whoever did not use a file, or mended it.
func told(d damage, boot bool, said func(string) string) error {
	want, by := "", ""

	switch name := filepath.Base(d.file); {
	case name == "config.yaml" && d.kind != "truncated" && d.kind != "longer":
		by, want = "configd", "mended|kept shut"
	case name == "node-identity.yaml" && d.kind != "truncated" && d.kind != "longer":
		by, want = "discoveryd", "mended|lost|made"
	case name == "resources" && !boot && d.kind != "missing" && d.kind != "truncated":
		by, want = "trustd", "not used"
	case name == "records" && !boot && d.kind != "missing" && d.kind != "truncated":
		by, want = "discoveryd", "is not used"
	default:
		return nil
	}

	for _, word := range strings.Split(want, "|") {
		if strings.Contains(said(by), word) {
			return nil
		}
	}

	return fmt.Errorf("%s, %s: %s says nothing", d.file, d.kind, by)
}

// nothing shows that the checks would see an open door: without any configuration it does open.
func (h *house) nothing(t *testing.T) {
	t.Helper()

	for _, d := range h.daemons {
		d.Kill()
	}

	h.restore(t, true)

	for _, name := range []string{"config.yaml", "config.good"} {
		if err := os.Remove(filepath.Join(h.state, name)); err != nil {
			t.Fatal(err)
		}
	}

	for _, d := range h.daemons {
		d.Launch()
	}

	conn := h.connect(t, stranger())

	if err := within20(func() error { return version(within(t, 5*time.Second), conn) }); err != nil {
		t.Errorf("a machine without a configuration lets nobody in: %v", err)
	}
}

// free gives an address that nobody listens on.
