package reconcile

// Told remembers what was logged, so that a problem is told once: when it appears, when it changes, and when it comes back.
type Told struct{ last map[string]string }

// News tells whether text is to be logged about the subject; "" means that there is no problem any more.
func (t *Told) News(subject, text string) bool {
	if text == "" {
		delete(t.last, subject)

		return false
	}

	if t.last[subject] == text {
		return false
	}

	if t.last == nil {
		t.last = map[string]string{}
	}

	t.last[subject] = text

	return true
}

// Fresh gives those of all problems there are that were not there the last time.
func (t *Told) Fresh(problems []string) []string {
	var fresh []string

	now := make(map[string]string, len(problems))

	for _, p := range problems {
		if _, told := t.last[p]; !told && now[p] == "" {
			fresh = append(fresh, p)
		}

		now[p] = p
	}

	t.last = now

	return fresh
}
