package ports

import (
	"context"
	"errors"
	"syscall"
)

// attempts are how often Start tries: between the choice and the use of a port
// another may take it.
const attempts = 3

// Start starts a server on the port that was saved in dir if it is free, else on
// any free one, which it saves. With dir "" no port is kept.
func Start[S any](ctx context.Context, dir string, start func(port int) (S, error)) (S, error) {
	for attempt := 1; ; attempt++ {
		var none S
		port, err := choose(dir)
		if err != nil {
			return none, err
		}
		s, err := start(port)
		if err == nil {
			return s, save(dir, port)
		}
		// By now the port may be free again: etcd's own listener for peers, on any
		// port, may have had it.
		taken := errors.Is(err, syscall.EADDRINUSE) || !IsFree(port)
		if !taken || attempt == attempts || ctx.Err() != nil {
			return none, err
		}
	}
}

func save(dir string, port int) error {
	if dir == "" {
		return nil
	}
	return Save(dir, port)
}
