package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	progressAfter = time.Second // shorter work shows none
	progressEvery = 200 * time.Millisecond
)

// progress shows a line on stderr, again and again, if that is a terminal and the
// work takes long. The result ends it and wipes the line.
func (a *app) progress(quiet bool, line func() string) (stop func()) {
	if quiet || !isTerminal(a.Err) {
		return func() {}
	}
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { showProgress(a.Err, line, done) })
	return func() { close(done); group.Wait() }
}

func showProgress(w io.Writer, line func() string, done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-time.After(progressAfter):
	}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		_, _ = fmt.Fprintf(w, "\r\x1b[K%s", line())
		select {
		case <-done:
			_, _ = fmt.Fprint(w, "\r\x1b[K")
			return
		case <-tick.C:
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// grouped writes 1234567 as 1,234,567.
func grouped(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func rates(records, bytes uint64, took time.Duration) string {
	seconds := max(took.Seconds(), 1e-6)
	return fmt.Sprintf("%s records/s, %.2f MiB/s", grouped(uint64(float64(records)/seconds)), float64(bytes)/(1<<20)/seconds)
}
