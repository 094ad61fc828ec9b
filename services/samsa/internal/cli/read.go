package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/client"
)

// errInterrupted is a read that Ctrl-C ended before it was complete.
var errInterrupted = errors.New("interrupted")

// readAhead is how many messages wait for the output.
const readAhead = 8

// readFlags say what to read.
type readFlags struct {
	seqID                         *client.SeqID
	seqNum, timestamp, tailOffset *uint64
	limit, maxBytes, until        *uint64
	clamp                         bool
	output                        *format
}

func (f *readFlags) add(c *cobra.Command) {
	flags := c.Flags()
	optional(flags, &f.seqID, "start-seq-id", "seq_id", "start at this record", client.ParseSeqID)
	optional(flags, &f.seqNum, "start-seq-num", "seq_num", "start at this record", parseUint)
	optional(flags, &f.timestamp, "start-timestamp", "time", "start at the first record of this time or later: Unix milliseconds or RFC 3339", parseMillis)
	optional(flags, &f.tailOffset, "tail-offset", "n", "start so many records before the tail", parseUint)
	c.MarkFlagsMutuallyExclusive("start-seq-id", "start-seq-num", "start-timestamp", "tail-offset")
	optional(flags, &f.limit, "limit", "n", "at most so many records", parseUint)
	optional(flags, &f.maxBytes, "max-bytes", "n", "at most so many metered bytes, but at least one record", parseUint)
	optional(flags, &f.until, "until", "time", "only records before this time: Unix milliseconds or RFC 3339", parseMillis)
	flags.BoolVar(&f.clamp, "clamp", false, "take a start past the tail as the tail")
	f.output = formatFlag(flags, "one object a line, or text: each body and a newline", "json", "text")
}

func (f *readFlags) read(start client.Start) client.Read {
	switch {
	case f.seqID != nil:
		start = client.FromSeqID(*f.seqID)
	case f.seqNum != nil:
		start = client.FromSeqNum(*f.seqNum)
	case f.timestamp != nil:
		start = client.FromTimestamp(*f.timestamp)
	case f.tailOffset != nil:
		start = client.FromTailOffset(*f.tailOffset)
	}
	return client.Read{Start: start, Count: f.limit, Bytes: f.maxBytes, Until: f.until, Clamp: f.clamp}
}

const readLong = "\n\nAs JSON a record is one object a line: seq_num, seq_id, timestamp (Unix milliseconds), headers and body; " +
	"bytes that are not UTF-8 stand in body_base64, name_base64 or value_base64. " +
	"As text it is the body and a newline; fence and trim commands are left out."

func (a *app) readCommand(t *target) *cobra.Command {
	var flags readFlags
	c := command("read", "Print the records that are there, up to the tail",
		"  samsa data -b logs -s web read --format text > web.log\n  samsa data -b logs -s web read --tail-offset 10\n"+
			"  samsa data -b logs -s web read --start-timestamp 2025-01-31T12:00:00Z --limit 100",
		cobra.NoArgs, func(c *cobra.Command, _ []string) error {
			return a.read(c.Context(), t, &flags, client.FromSeqNum(0), client.StopAtTail())
		})
	c.Long = "Prints the records of a stream from the first one kept, or where a --start flag says, up to the tail." + readLong
	flags.add(c)
	return c
}

func (a *app) subscribeCommand(t *target) *cobra.Command {
	var flags readFlags
	c := command("subscribe", "Print records as they are appended, until interrupted",
		"  samsa data -b logs -s web subscribe --format text\n  samsa data -b logs -s web subscribe --start-seq-num 0",
		cobra.NoArgs, func(c *cobra.Command, _ []string) error {
			err := a.read(c.Context(), t, &flags, client.Start{})
			if errors.Is(err, errInterrupted) { // that is how a subscription ends
				return nil
			}
			return err
		})
	c.Long = "Follows a stream from its tail, or from where a --start flag says, until a limit is met or Ctrl-C." + readLong
	flags.add(c)
	return c
}

func (a *app) read(ctx context.Context, t *target, flags *readFlags, start client.Start, opts ...client.SessionOption) error {
	cl, s, err := a.open(t)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	session := s.ReadSession(ctx, flags.read(start), opts...)
	batches, wait := receive(session)
	err = a.print(batches, flags.output.chosen == "text")
	session.Close()
	ended := wait()
	switch {
	case err != nil:
		return err
	case errors.Is(ended, io.EOF):
		return nil
	case ctx.Err() != nil:
		return errInterrupted
	}
	return ended
}

// receive reads ahead of the output. wait, once the session is closed, returns
// why it ended.
func receive(session *client.ReadSession) (batches <-chan client.Batch, wait func() error) {
	out := make(chan client.Batch, readAhead)
	stop := make(chan struct{})
	var why error
	var group sync.WaitGroup
	group.Go(func() {
		defer close(out)
		for {
			batch, err := session.Next()
			if err != nil {
				why = err
				return
			}
			select {
			case out <- batch:
			case <-stop:
				return
			}
		}
	})
	return out, func() error { close(stop); group.Wait(); return why }
}

// print writes batches until there are no more. What it has written is flushed
// whenever nothing more waits.
func (a *app) print(batches <-chan client.Batch, text bool) error {
	w := bufio.NewWriterSize(a.Out, 256<<10)
	var line []byte
	for {
		var batch client.Batch
		var open bool
		select {
		case batch, open = <-batches:
		default:
			if err := w.Flush(); err != nil {
				return err
			}
			batch, open = <-batches
		}
		if !open {
			return w.Flush()
		}
		for _, r := range batch.Records {
			line = appendOutput(line[:0], r, text)
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
	}
}

func appendOutput(dst []byte, r client.Record, text bool) []byte {
	if !text {
		return appendJSON(dst, r)
	}
	if _, is := r.Command(); is {
		return dst
	}
	return append(append(dst, r.Body...), '\n')
}
