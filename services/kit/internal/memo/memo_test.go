package memo_test

import (
	"errors"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/internal/memo"
)

func TestParsesOncePerChange(t *testing.T) {
	var (
		m     memo.Memo
		calls int
	)

	wrong := errors.New("wrong")
	parse := func(data []byte) (any, error) {
		calls++

		if len(data) == 0 {
			return nil, wrong
		}

		return string(data), nil
	}

	for i, step := range []struct {
		kind, data string
		calls      int
	}{{"a", "1", 1}, {"a", "1", 1}, {"b", "1", 2}, {"a", "2", 3}, {"a", "1", 4}, {"a", "", 5}, {"a", "", 5}, {"b", "1", 5}} {
		got, err := m.Parse(step.kind, []byte(step.data), parse)

		if step.data == "" && !errors.Is(err, wrong) || step.data != "" && got != step.data {
			t.Errorf("step %d: %v, %v", i, got, err)
		}

		if calls != step.calls {
			t.Errorf("step %d: parsed %d times, want %d", i, calls, step.calls)
		}
	}
}
