// Package debian fetches pinned Debian packages and unpacks them, without touching the building machine's own packages.
package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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

// download lets apt put the package into dir. Package lists that do not know it may be older than the pin: they are fetched
// anew.
func (c Cache) download(ctx context.Context, p Package, dir string) error {
	conf, err := c.configure()
	if err != nil {
		return err
	}

	name := p.Name
	if p.Arch != "all" {
		name += ":" + p.Arch
	}

	args := []string{"download", name + "=" + p.Version}
	fetched := filepath.Join(filepath.Dir(conf), "fresh")

	if _, err = os.Stat(fetched); err == nil && apt(ctx, conf, dir, args...) == nil {
		return nil
	}

	c.Log("fetching Debian's package lists")

	if err = apt(ctx, conf, dir, "update"); err != nil {
		return err
	}

	if err = os.WriteFile(fetched, nil, 0o644); err != nil {
		return err
	}

	return apt(ctx, conf, dir, args...)
}

func verify(file, want string) error {
	content, err := os.Open(file)
	if err != nil {
		return err
	}
	defer content.Close() // only read

	sum := sha256.New()
	if _, err = io.Copy(sum, content); err != nil {
		return err
	}

	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("%s has the digest %s, pinned is %s", file, got, want)
	}

	return nil
}

// configure makes an apt of our own, which knows both architectures.
func (c Cache) configure() (string, error) {
	dir, err := filepath.Abs(filepath.Join(c.Dir, "apt"))
	if err != nil {
		return "", err
	}

	for _, sub := range []string{"lists/partial", "archives/partial", "cache", "state", "none"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return "", err
		}
	}

	text := fmt.Sprintf(aptConf, dir)
	if c.Sources != "" {
		text += fmt.Sprintf("Dir::Etc %q;\n", c.Sources)
	}

	conf := filepath.Join(dir, "apt.conf")

	return conf, errors.Join(os.WriteFile(conf, []byte(text), 0o644), os.WriteFile(filepath.Join(dir, "status"), nil, 0o644))
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
