package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// callLimit bounds one call of a client that polls: a node that is away does not answer at all.
const callLimit = 20 * time.Second

// ctl runs the client for this node as the cluster's admin, and fails the test when the client fails.
func (n *node) ctl(t testing.TB, args ...string) string {
	t.Helper()

	return outside.Must(t, n.try(t, args...))
}

// try is ctl for what may fail, within callLimit.
func (n *node) try(t testing.TB, args ...string) outside.Result {
	t.Helper()

	return n.run(t, append([]string{"--context", n.of.name}, args...)...)
}

// insecure is ctl in maintenance mode: without certificates.
func (n *node) insecure(t testing.TB, args ...string) string {
	t.Helper()

	return outside.Must(t, n.tryInsecure(t, args...))
}

// tryInsecure is insecure for what may fail, within callLimit.
func (n *node) tryInsecure(t testing.TB, args ...string) outside.Result {
	t.Helper()

	return n.run(t, append(args, "--insecure")...)
}

func (n *node) run(t testing.TB, args ...string) outside.Result {
	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	defer cancel()

	return outside.Dactylctl(ctx, append([]string{"-e", n.Address, "-n", n.Address}, args...)...)
}

// configure applies the node's configuration in maintenance mode. It answers when the disk is partitioned, which takes its time.
func (n *node) configure(t testing.TB) {
	t.Helper()

	outside.Must(t, outside.Dactylctl(t.Context(), "-e", n.Address, "-n", n.Address, "apply-config", "--insecure", "--file", n.ConfigPath()))
}

// bootID tells one boot from another.
func (n *node) bootID(t testing.TB) string {
	t.Helper()

	return strings.TrimSpace(n.ctl(t, "read", "/proc/sys/kernel/random/boot_id"))
}

// awaitBoot waits until the node answers in another boot than the one before.
func (n *node) awaitBoot(t testing.TB, before string) {
	t.Helper()
	kittest.AwaitNoError(t, bootLimit, func() error {
		r := n.try(t, "read", "/proc/sys/kernel/random/boot_id")
		if now := strings.TrimSpace(r.Stdout); r.Err != nil || now == before {
			return fmt.Errorf("%s is not back: %s", n.Name, r)
		}

		return nil
	})
}

// awaitMaintenance waits until the node answers without a configuration.
func (n *node) awaitMaintenance(t testing.TB) {
	t.Helper()
	kittest.AwaitNoError(t, bootLimit, func() error {
		if r := n.tryInsecure(t, "version"); r.Err != nil {
			return fmt.Errorf("%s is not in maintenance mode: %s", n.Name, r)
		}

		return nil
	})
}

// powerCut ends the machine's QEMU between two instructions; the provisioner then gives power back, as after monitor q.
func (n *node) powerCut(t testing.TB) {
	t.Helper()

	pid, err := n.InitPID()
	if err != nil {
		t.Fatal(err)
	}

	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill -9 of QEMU %d: %v", pid, err)
	}
}

// powerOn gives a machine that is off power again; more flags change what it is made of.
func (n *node) powerOn(t testing.TB, more ...string) {
	t.Helper()
	flags := append(slices.Clone(n.of.flags), "--wait=false")
	outside.Must(t, n.of.cluster(t.Context(), "create", append(flags, more...)...))
}

// monitor sends lines to the monitor socket as `socat - unix-connect:…` does and gives what came back.
func (n *node) monitor(t testing.TB, lines ...string) string {
	t.Helper()

	conn, err := net.Dial("unix", n.MonitorPath())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	if _, err := io.WriteString(conn, strings.Join(lines, "\n")+"\n"); err != nil {
		t.Fatal(err)
	}

	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}

	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}

	return string(answer)
}

// console is what the node has printed since a mark; 0 is from the start.
func (n *node) console(t testing.TB, mark int) string {
	t.Helper()

	text, err := os.ReadFile(n.ConsolePath())
	if err != nil {
		t.Fatal(err)
	}

	return string(bytes.ReplaceAll(text[min(mark, len(text)):], []byte("\r"), nil))
}

// mark is the present end of the console log.
func (n *node) mark(t testing.TB) int {
	t.Helper()

	info, err := os.Stat(n.ConsolePath())
	if err != nil {
		t.Fatal(err)
	}

	return int(info.Size())
}

// awaitConsole waits until the node has printed a text since the mark and gives the whole line.
func (n *node) awaitConsole(t testing.TB, mark int, text string) string {
	t.Helper()

	var found string

	kittest.AwaitNoError(t, bootLimit, func() error {
		for line := range strings.Lines(n.console(t, mark)) {
			if strings.Contains(line, text) {
				found = strings.TrimSpace(line)

				return nil
			}
		}

		return fmt.Errorf("%s has not printed %q", n.Name, text)
	})

	return found
}

// etcdctl asks the node's etcd with the ordinary client, as its admin, once it serves: a machine runs before its member does.
func (n *node) etcdctl(t testing.TB, args ...string) string {
	t.Helper()
	kittest.AwaitNoError(t, bootLimit, func() error {
		if r := n.try(t, "etcd", "status"); r.Err != nil {
			return fmt.Errorf("etcd of %s: %s", n.Name, r)
		}

		return nil
	})

	pki := outside.EtcdPKI(t, n.Address, func(path string) string { return n.ctl(t, "read", path) })

	return outside.Must(t, outside.Run(t.Context(), "etcdctl", append(pki, args...)...))
}

// awaitRunning waits until the node says that it runs and is ready.
func (n *node) awaitRunning(t testing.TB) {
	t.Helper()
	kittest.AwaitNoError(t, bootLimit, func() error {
		r := n.try(t, "get", "machinestatus", "-o", "jsonpath={.spec.stage} {.spec.status.ready}")
		if strings.TrimSpace(r.Stdout) != "running true" {
			return fmt.Errorf("%s does not run: %s", n.Name, r)
		}

		return nil
	})
}
