// Package mountinfo reads what the kernel tells of mounts, see proc_pid_mountinfo(5).
package mountinfo

import "strings"

// Path is the file for the mounts that this process sees.
const Path = "/proc/self/mountinfo"

// Mount is one line.
type Mount struct {
	// Dev is the device as MAJOR:MINOR.
	Dev string
	// Root is the part of the file system that is shown.
	Root string
	// Source is what is mounted, usually a device's path, Target where, Type the file system.
	Source, Target, Type string
	// Options are those of the mount, not of the file system.
	Options []string
}

// Parse gives the mounts in the file's order, the last mounted last. Lines that make no sense are left out.
func Parse(text string) []Mount {
	var out []Mount

	for line := range strings.Lines(text) {
		before, after, found := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)

		if found && len(left) >= 6 && len(right) >= 2 {
			out = append(out, Mount{
				Dev: left[2], Root: unescape(left[3]), Source: unescape(right[1]), Target: unescape(left[4]), Type: right[0],
				Options: strings.Split(left[5], ","),
			})
		}
	}

	return out
}

// unescape undoes the octal escapes of blanks and backslashes.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
