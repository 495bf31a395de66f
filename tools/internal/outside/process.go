package outside

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// NetNS is the name under which `ip netns` shows the node that holds an address.
func NetNS(ctx context.Context, address string) (string, error) {
	entries, err := os.ReadDir("/run/netns")
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		addresses, err := KernelAddresses(ctx, entry.Name())
		if err != nil {
			continue // a namespace that is going away
		}
		if slices.ContainsFunc(addresses, func(line string) bool { return strings.Contains(line, " "+address+"/") }) {
			return entry.Name(), nil
		}
	}

	return "", fmt.Errorf("no network namespace holds %s", address)
}

// KernelAddresses is `ip addr` in a namespace as sorted lines "LINK ADDRESS/PREFIX".
func KernelAddresses(ctx context.Context, namespace string) ([]string, error) {
	r := Run(ctx, "ip", "-n", namespace, "-j", "addr")
	if r.Err != nil {
		return nil, fmt.Errorf("%s", r)
	}
	var links []struct {
		Name      string `json:"ifname"`
		Addresses []struct {
			Local  string `json:"local"`
			Prefix int    `json:"prefixlen"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &links); err != nil {
		return nil, fmt.Errorf("%w in: %s", err, r)
	}
	var lines []string
	for _, link := range links {
		for _, address := range link.Addresses {
			lines = append(lines, fmt.Sprintf("%s %s/%d", link.Name, address.Local, address.Prefix))
		}
	}
	slices.Sort(lines)

	return lines, nil
}

// PID is the process of a node that runs under a daemon's name: same network namespace, argv[0] with that base name.
func PID(namespace, daemon string) (int, error) {
	var want syscall.Stat_t
	if err := syscall.Stat("/run/netns/"+namespace, &want); err != nil {
		return 0, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return 0, err
	}
	for _, link := range links {
		var have syscall.Stat_t
		if syscall.Stat(link, &have) != nil || have.Ino != want.Ino {
			continue
		}
		dir := filepath.Dir(filepath.Dir(link))
		arguments, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			continue // gone meanwhile
		}
		name, _, _ := strings.Cut(string(arguments), "\x00")
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && filepath.Base(name) == daemon {
			return pid, nil
		}
	}

	return 0, fmt.Errorf("no process %s in %s", daemon, namespace)
}
