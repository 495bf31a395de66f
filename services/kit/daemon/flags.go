package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"
)

// settings are the flags that every daemon has.
type settings struct {
	socket, configFile     string
	stateDir, runDir, root string
	level                  slog.Level
	stopTimeout            time.Duration
	startDebug             func(*Env)
}

// errUsage marks errors of the command line, which have exit code 2.
var errUsage = errors.New("usage")

func parseFlags(name string, args []string, stderr io.Writer) (settings, error) {
	s := settings{level: slog.LevelInfo}

	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.socket, "socket", "", "listen on this unix `socket` (default RUN-DIR/NAME.sock); ignored when init hands one over")
	flags.StringVar(&s.configFile, "config", "", "run alone, with the machine configuration from this `file`")
	flags.StringVar(&s.stateDir, "state-dir", "/system/state", "persistent `directory`")
	flags.StringVar(&s.runDir, "run-dir", "/run/dactyl", "`directory` of the daemons' sockets")
	flags.StringVar(&s.root, "root", "/", "`directory` put before system paths such as /etc and /proc")
	flags.TextVar(&s.level, "log-level", s.level, "`level`: debug, info, warn or error")
	flags.DurationVar(&s.stopTimeout, "stop-timeout", 5*time.Second, "give up an orderly stop after this `time`")
	s.startDebug = addDebugFlags(flags)

	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return s, err
		}

		return s, fmt.Errorf("%w: %w", errUsage, err)
	}

	if flags.NArg() > 0 {
		return s, fmt.Errorf("%w: unexpected argument %q", errUsage, flags.Arg(0))
	}

	if s.socket == "" {
		s.socket = filepath.Join(s.runDir, name+".sock")
	}

	return s, nil
}
