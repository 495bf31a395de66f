package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

func netns(t *testing.T, address string) string {
	t.Helper()
	name, err := outside.NetNS(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}

	return name
}

func kernelAddresses(t *testing.T, namespace string) []string {
	t.Helper()
	lines, err := outside.KernelAddresses(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}

	return lines
}

func decodeJSON(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
}

// resourceAddresses is `get addresses` of a node in the form of kernelAddresses.
func resourceAddresses(t *testing.T, node string) []string {
	t.Helper()
	var lines []string
	decoder := json.NewDecoder(strings.NewReader(ctl(t, "-n", node, "get", "addresses", "-o", "json")))
	for decoder.More() {
		var item struct {
			Spec struct {
				Address  netip.Prefix `json:"address"`
				LinkName string       `json:"linkName"`
			} `json:"spec"`
		}
		if err := decoder.Decode(&item); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %s", item.Spec.LinkName, item.Spec.Address))
	}
	slices.Sort(lines)

	return lines
}

func TestAddressesAgreeWithTheKernel(t *testing.T) {
	for _, node := range nodes() {
		kernel := kernelAddresses(t, netns(t, node))
		ours := resourceAddresses(t, node)
		if !slices.Equal(kernel, ours) {
			t.Errorf("node %s:\nip addr:\n  %s\nget addresses:\n  %s", node, strings.Join(kernel, "\n  "), strings.Join(ours, "\n  "))
		}
		for _, want := range []string{"lo 192.168.0.21/24", "lo 10.2.2.2/24", "eth0 " + node + "/24"} {
			if !slices.Contains(kernel, want) {
				t.Errorf("node %s: the configured %q is not in the kernel", node, want)
			}
		}
	}
}

func etcdPKI(t *testing.T, node string) []string {
	t.Helper()

	return outside.EtcdPKI(t, node, func(path string) string { return ctl(t, "-n", node, "read", path) })
}

// etcdctlMembers is the member list as etcdctl sees it: "id name learner", sorted.
func etcdctlMembers(t *testing.T, node string) []string {
	t.Helper()
	os.Setenv("ETCDCTL_API", "3")
	var list struct {
		Members []struct {
			ID      uint64 `json:"ID"`
			Name    string `json:"name"`
			Learner bool   `json:"isLearner"`
		} `json:"members"`
	}
	decodeJSON(t, program(t, "etcdctl", append(etcdPKI(t, node), "member", "list", "-w", "json")...), &list)
	var lines []string
	for _, member := range list.Members {
		lines = append(lines, fmt.Sprintf("%x %s %t", member.ID, member.Name, member.Learner))
	}
	slices.Sort(lines)

	return lines
}

func TestEtcdMembersAgreeWithEtcdctl(t *testing.T) {
	want := etcdctlMembers(t, controlPlanes[0])
	if len(want) != len(controlPlanes) {
		t.Fatalf("etcdctl lists %d members: %s", len(want), want)
	}
	for _, node := range controlPlanes {
		var ours []string
		for _, line := range strings.Split(strings.TrimSpace(ctl(t, "-n", node, "etcd", "members")), "\n")[1:] {
			fields := strings.Fields(line) // NODE ID HOSTNAME PEER-URLS CLIENT-URLS LEARNER
			ours = append(ours, fmt.Sprintf("%s %s %s", fields[1], fields[2], fields[len(fields)-1]))
		}
		slices.Sort(ours)
		if !slices.Equal(want, ours) {
			t.Errorf("node %s: etcd members\n  %s\netcdctl member list\n  %s", node, strings.Join(ours, "\n  "), strings.Join(want, "\n  "))
		}
	}
	program(t, "etcdctl", append(etcdPKI(t, controlPlanes[1]), "endpoint", "health")...)
}
