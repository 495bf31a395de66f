package modules

import "strings"

// match compares an alias with a pattern as fnmatch(3) without flags does: * ? [set] [!set]; a slash is nothing special.
func match(pattern, text string) bool {
	// Where to go on after the last star when what followed it did not fit.
	star, retry := -1, 0

	p, t := 0, 0
	for t < len(text) || p < len(pattern) {
		if p < len(pattern) && pattern[p] == '*' {
			star, retry = p, t
			p++

			continue
		}

		if t < len(text) && p < len(pattern) {
			if next, ok := one(pattern, p, text[t]); ok {
				p, t = next, t+1

				continue
			}
		}

		if star < 0 || retry >= len(text) {
			return false
		}

		retry++
		p, t = star+1, retry
	}

	return true
}

// one compares one character and gives where the pattern goes on.
func one(pattern string, p int, c byte) (int, bool) {
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '[':
		end := strings.IndexByte(pattern[min(p+2, len(pattern)):], ']')
		if end < 0 {
			return p + 1, c == '['
		}

		end += p + 2

		return end + 1, inSet(pattern[p+1:end], c)
	default:
		return p + 1, pattern[p] == c
	}
}

func inSet(set string, c byte) bool {
	set, negated := strings.CutPrefix(set, "!")

	for i := 0; i < len(set); i++ {
		low, high := set[i], set[i]
		if i+2 < len(set) && set[i+1] == '-' {
			high = set[i+2]
			i += 2
		}

		if low <= c && c <= high {
			return !negated
		}
	}

	return negated
}
