// Package debian fetches pinned Debian packages and unpacks them, without touching the building machine's own packages.
package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is one pinned package of one architecture.
type Package struct {
	Name, Version string
	// Arch is amd64, arm64 or all.
	Arch string
	// SHA256 of the .deb file, in hexadecimal.
	SHA256 string
}

// Cache keeps packages and what was unpacked from them; a package is fetched and unpacked once.
type Cache struct {
	Dir string
	// Sources is apt's directory with sources.list; empty for the building machine's.
	Sources string
	Log     func(format string, args ...any)
}

// Unpack gives a directory with the package's files. It refuses a package with another digest.
func (c Cache) Unpack(ctx context.Context, p Package) (string, error) {
	target := filepath.Join(c.Dir, "unpacked", p.Name+"_"+p.Arch+"_"+p.SHA256[:16])
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}

	file, err := c.fetch(ctx, p)
	if err != nil {
		return "", fmt.Errorf("fetch %s %s for %s: %w", p.Name, p.Version, p.Arch, err)
	}

	staging := target + ".new"
	if err = os.RemoveAll(staging); err != nil {
		return "", err
	}

	if err = os.MkdirAll(staging, 0o755); err != nil {
		return "", err
	}

	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", file, staging).CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack %s: %w: %s", file, err, out)
	}

	return target, os.Rename(staging, target)
}

func (c Cache) fetch(ctx context.Context, p Package) (string, error) {
	dir := filepath.Join(c.Dir, "debs")
	// apt writes the colon of an epoch in this way.
	file := filepath.Join(dir, fmt.Sprintf("%s_%s_%s.deb", p.Name, strings.ReplaceAll(p.Version, ":", "%3a"), p.Arch))

	if _, err := os.Stat(file); err == nil {
		return file, verify(file, p.SHA256)
	}

	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}

	c.Log("fetching %s %s (%s)", p.Name, p.Version, p.Arch)

	if err := c.download(ctx, p, dir); err != nil {
		return "", fmt.Errorf("%w (Debian keeps only current versions on its mirrors: pin a newer one, "+
			"or put the file from its snapshot archive at %s)", err, file)
	}

	return file, verify(file, p.SHA256)
}

// download lets apt put the package into dir.
func (c Cache) download(ctx context.Context, p Package, dir string) error {
	conf, had, err := c.configure(ctx)
	if err != nil {
		return err
	}

	name := p.Name
	if p.Arch != "all" {
		name += ":" + p.Arch
	}

	args := []string{"download", name + "=" + p.Version}
	if err = apt(ctx, conf, dir, args...); err == nil || !had {
		return err
	}

	// The lists may be older than the pin.
	if err = c.update(ctx, conf); err != nil {
		return err
	}

	return apt(ctx, conf, dir, args...)
}

func verify(file, want string) error {
	content, err := os.Open(file)
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // only read

	sum := sha256.New()
	if _, err = io.Copy(sum, content); err != nil {
		return err
	}

	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("%s has the digest %s, pinned is %s", file, got, want)
	}

	return nil
}

// configure makes an apt of our own, which knows both architectures, and its package lists unless it had them.
func (c Cache) configure(ctx context.Context) (conf string, had bool, err error) {
	dir, err := filepath.Abs(filepath.Join(c.Dir, "apt"))
	if err != nil {
		return "", false, err
	}

	conf = filepath.Join(dir, "apt.conf")
	if _, err := os.Stat(filepath.Join(dir, complete)); err == nil {
		return conf, true, nil
	}

	for _, sub := range []string{"lists/partial", "archives/partial", "cache", "state", "none"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return "", false, err
		}
	}

	text := fmt.Sprintf(aptConf, dir)
	if c.Sources != "" {
		text += fmt.Sprintf("Dir::Etc %q;\n", c.Sources)
	}

	for name, content := range map[string]string{"apt.conf": text, "status": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return "", false, err
		}
	}

	return conf, false, c.update(ctx, conf)
}

// complete is a file beside apt.conf that says that the lists are whole.
const complete = "fresh"

// update fetches the package lists.
func (c Cache) update(ctx context.Context, conf string) error {
	c.Log("fetching Debian's package lists")

	dir := filepath.Dir(conf)
	if err := apt(ctx, conf, dir, "update"); err != nil {
		return err
	}

	return os.WriteFile(filepath.Join(dir, complete), nil, 0o644)
}

func apt(ctx context.Context, conf, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-qq"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "APT_CONFIG="+conf)

	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, out)
	}

	return nil
}

const aptConf = `APT::Architecture "amd64";
APT::Architectures {"amd64"; "arm64";};
APT::Sandbox::User "root";
Dir::State "%[1]s/state";
Dir::State::lists "%[1]s/lists";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache";
Dir::Cache::archives "%[1]s/archives";
Dir::Etc::preferencesparts "%[1]s/none";
`
