package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/samsa-io/samsa/pkg/client"
)

// errLine is an input line that is no record.
var errLine = errors.New("bad line")

const (
	blockBytes   = 256 << 10
	maxLineBytes = client.MaxBatchBytes - 8 // a record with no headers
)

// lines splits a reader into lines of any content. A goroutine reads ahead; it
// ends with the reader, or after the read under way when stop was called.
type lines struct {
	blocks  chan block
	stopped chan struct{}

	rest []byte // of the present block
	long []byte // a line that began in an earlier block
	err  error
}

type block struct {
	data []byte
	err  error
}

func newLines(r io.Reader) *lines {
	l := &lines{blocks: make(chan block, 4), stopped: make(chan struct{})}
	go l.read(r)
	return l
}

func (l *lines) read(r io.Reader) {
	for {
		buffer := make([]byte, blockBytes)
		n, err := r.Read(buffer)
		select {
		case l.blocks <- block{buffer[:n], err}:
		case <-l.stopped:
			return
		}
		if err != nil {
			return
		}
	}
}

func (l *lines) stop() { close(l.stopped) }

// next is the next line without its newline, good until the call after it. A
// last line needs no newline; an empty one after a newline is none.
func (l *lines) next(ctx context.Context) ([]byte, error) {
	l.long = l.long[:0]
	for {
		line, rest, found := bytes.Cut(l.rest, []byte{'\n'})
		if len(l.long)+len(line) > maxLineBytes {
			return nil, fmt.Errorf("%w: it has more than %d bytes, the most that a record can hold", errLine, maxLineBytes)
		}
		if found {
			l.rest = rest
			if len(l.long) == 0 {
				return line, nil
			}
			l.long = append(l.long, line...)
			return l.long, nil
		}
		l.long = append(l.long, line...)
		l.rest = nil
		if l.err != nil {
			return l.last()
		}
		if err := l.fill(ctx); err != nil {
			return nil, err
		}
	}
}

func (l *lines) last() ([]byte, error) {
	if errors.Is(l.err, io.EOF) && len(l.long) > 0 {
		return l.long, nil
	}
	return nil, l.err
}

func (l *lines) fill(ctx context.Context) error {
	select {
	case b := <-l.blocks:
		l.rest, l.err = b.data, b.err
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
