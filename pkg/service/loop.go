package service

import (
	"context"
)

// loop is a goroutine that runs from start to stop, which waits for it.
type loop struct {
	run    func(context.Context)
	cancel context.CancelFunc
	done   chan struct{}
}

func newLoop(run func(context.Context)) *loop { return &loop{run: run} }

func (l *loop) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel, l.done = cancel, make(chan struct{})
	go func() {
		defer close(l.done)
		l.run(ctx)
	}()
}

func (l *loop) stop() {
	l.cancel()
	<-l.done
}
