package delivery

import (
	"os"
	"strings"
	"time"
)

// saveEvery is what a daemon that is killed sends twice at most.
const saveEvery = time.Second

// mark remembers over the daemon's restarts what was sent last.
type mark struct {
	path  string
	value string
	saved time.Time
}

func openMark(path string) *mark {
	data, _ := os.ReadFile(path) // without it everything is sent again

	return &mark{path: path, value: strings.TrimSpace(string(data))}
}

func (m *mark) set(value string) {
	m.value = value

	if time.Since(m.saved) >= saveEvery {
		m.save()
	}
}

func (m *mark) save() {
	m.saved = time.Now()
	_ = os.WriteFile(m.path, []byte(m.value+"\n"), 0o600) // costs a repetition
}
