package vm

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestLongArm64 boots the image for the other architecture to the API of maintenance mode.
func TestLongArm64(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image")
	repository(t, "make", "kernel", "initramfs", "PLATFORM=linux/arm64", "FAST=1", "OUT="+out)

	c, result := create(t, "--arch", "arm64", "--skip-injecting-config",
		"--vmlinuz-path", filepath.Join(out, "vmlinuz-arm64"), "--initrd-path", filepath.Join(out, "initramfs-arm64.xz"))
	if result.Err != nil {
		t.Fatal(result)
	}

	n := c.nodes[0]
	n.awaitMaintenance(t)

	if version := n.insecure(t, "version"); !strings.Contains(version, "linux/arm64") {
		t.Errorf("version:\n%s", version)
	}

	if disks := n.insecure(t, "disks"); !strings.Contains(disks, "/dev/vda") {
		t.Errorf("disks:\n%s", disks)
	}
}

// TestLongDebugImage finds every daemon's profiles from outside where guide 06 looks for them.
func TestLongDebugImage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image")
	repository(t, "make", "initramfs", "WITH_DEBUG=1", "OUT="+out)

	n := start(t, "--initrd-path", filepath.Join(out, "initramfs-amd64.xz")).nodes[0]

	for daemon, port := range map[string]int{
		"gateway": 9981, "init": 9982, "trustd": 9983, "configd": 9984, "diskd": 9985, "discoveryd": 9986, "etcdd": 9987,
		"hostd": 9989, "networkd": 9990, "timed": 9992,
	} {
		line := profile(t, fmt.Sprintf("http://%s:%d/debug/pprof/cmdline", n.Address, port))
		if program, _, _ := strings.Cut(line, "\x00"); program != "/usr/bin/"+daemon {
			t.Errorf("port %d is %q, want %s", port, program, daemon)
		}
	}

	if heap := profile(t, "http://"+n.Address+":9982/debug/pprof/heap?debug=1"); !strings.HasPrefix(heap, "heap profile: ") {
		t.Errorf("heap of init: %.100q", heap)
	}
}

func profile(t *testing.T, url string) string {
	t.Helper()

	client := http.Client{Timeout: 20 * time.Second}

	var body []byte

	kittest.AwaitNoError(t, time.Minute, func() error {
		answer, err := client.Get(url)
		if err != nil {
			return err
		}
		defer answer.Body.Close()

		if body, err = io.ReadAll(answer.Body); err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", url, answer.Status)
		}

		return err
	})

	return string(body)
}

// TestLongRaceImage boots daemons with the race detector, which ends a daemon's log with what it found.
func TestLongRaceImage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image")
	repository(t, "make", "initramfs", "WITH_RACE=1", "OUT="+out)

	n := start(t, "--memory", "4096", "--initrd-path", filepath.Join(out, "initramfs-amd64.xz")).nodes[0]

	for daemon := range daemonTags(t, n) {
		if log := n.ctl(t, "logs", daemon); strings.Contains(log, "DATA RACE") {
			t.Errorf("%s:\n%s", daemon, log)
		}
	}
}
