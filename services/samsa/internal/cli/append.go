package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/client"
)

// drainPatience is how long an interrupted append waits for what it has sent.
const drainPatience = 10 * time.Second

// appendFlags are the flags of `data append`.
type appendFlags struct {
	conditionFlags
	fromStdin   bool
	bodies      []string
	headers     []string
	timestamp   *uint64
	producerID  string
	producerSeq uint64
	linger      time.Duration
	quiet       bool
	input       *format
}

func (a *app) appendCommand(t *target) *cobra.Command {
	flags := &appendFlags{}
	c := command("append", "Append records: lines of stdin, or --body",
		"  tail -F access.log | samsa data -b logs -s web append --from-stdin\n"+
			"  samsa data -b logs -s web append --body hello --header source=cli\n"+
			`  echo '{"body":"hi","headers":[{"name":"k","value":"v"}]}' | samsa data -b logs -s web append --from-stdin --format json`,
		cobra.NoArgs, func(c *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			cl, s, err := a.open(t)
			if err != nil {
				return err
			}
			defer func() { _ = cl.Close() }()
			return a.append(c.Context(), s, flags)
		})
	c.Long = "Appends each line of stdin as a record (without its newline), or each --body.\n\n" +
		"With --format json a line is an object: body or body_base64, headers, timestamp; what `data read` prints is understood.\n\n" +
		"Records are sent under a producer id, so that a resend after a failure stores nothing twice. It is random unless --producer-id names one."
	f := c.Flags()
	f.BoolVar(&flags.fromStdin, "from-stdin", false, "append each line of stdin")
	f.StringArrayVar(&flags.bodies, "body", nil, "append a record with this `text`; several times for several")
	f.StringArrayVar(&flags.headers, "header", nil, "`name=value` for each record; several times for several")
	optional(f, &flags.timestamp, "timestamp", "time", "for each record: Unix milliseconds or RFC 3339", parseMillis)
	flags.add(c)
	f.StringVar(&flags.producerID, "producer-id", "", "producer `id`, at most 36 bytes")
	f.Uint64Var(&flags.producerSeq, "producer-seq", 0, "how many `records` this producer has appended before")
	f.DurationVar(&flags.linger, "linger", 5*time.Millisecond, "how `long` a record waits for others")
	f.BoolVarP(&flags.quiet, "quiet", "q", false, "no summary and no progress")
	flags.input = formatFlag(f, "of stdin's lines", "text", "json")
	c.MarkFlagsMutuallyExclusive("from-stdin", "body")
	return c
}

func (f *appendFlags) check() error {
	switch {
	case !f.fromStdin && len(f.bodies) == 0:
		return usagef("append what? give --from-stdin or --body")
	case f.producerSeq > 0 && f.producerID == "":
		return usagef("--producer-seq needs --producer-id")
	}
	_, err := f.template()
	return err
}

// template is what all records have in common.
func (f *appendFlags) template() (client.AppendRecord, error) {
	r := client.AppendRecord{Timestamp: f.timestamp}
	for _, header := range f.headers {
		name, value, ok := strings.Cut(header, "=")
		if !ok || name == "" {
			return r, usagef("--header %q: want name=value", header)
		}
		r.Headers = append(r.Headers, client.Header{Name: []byte(name), Value: []byte(value)})
	}
	return r, nil
}

// appended is what came of an append so far. The producer's goroutine writes it.
type appended struct {
	records, bytes atomic.Uint64
	first, last    atomic.Uint64
	placed         atomic.Bool
}

// add takes account of a batch. Metered bytes count 8 for each record beside its
// content.
func (p *appended) add(k client.Acked) {
	if k.Err != nil {
		return
	}
	p.records.Add(uint64(k.Count))
	p.bytes.Add(uint64(k.Bytes - 8*k.Count))
	if k.Ack.Placed {
		if !p.placed.Load() {
			p.first.Store(k.Ack.StartSeqNum)
		}
		p.last.Store(k.Ack.EndSeqNum - 1)
		p.placed.Store(true)
	}
}

func (a *app) append(ctx context.Context, s *client.Stream, flags *appendFlags) error {
	done := &appended{}
	begun := time.Now()
	// The producer outlives an interrupt: what it holds is still sent.
	producer := s.Producer(context.WithoutCancel(ctx), client.ProducerOptions{
		ProducerID: flags.producerID, ProducerSeq: flags.producerSeq, Linger: flags.linger,
		FencingToken: flags.FencingToken, MatchSeqNum: flags.MatchSeqNum, MatchSeqID: flags.MatchSeqID,
		OnAck: done.add,
	})
	stopProgress := a.progress(flags.quiet, func() string { return done.line(time.Since(begun)) })
	err := a.feed(ctx, producer, flags)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainPatience)
	defer cancel()
	if ctx.Err() == nil { // retries have their own end
		drain = context.WithoutCancel(ctx)
	}
	if closed := producer.Close(drain); closed != nil {
		err = closed // the cause of what Add may have said
	}
	stopProgress()
	if !flags.quiet {
		_, _ = fmt.Fprintln(a.Err, done.summary(time.Since(begun)))
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return fmt.Errorf("interrupted after %d records", done.records.Load())
	}
	return err
}

// feed gives the producer all there is to append.
func (a *app) feed(ctx context.Context, p *client.Producer, flags *appendFlags) error {
	template, err := flags.template()
	if err != nil {
		return err
	}
	for _, body := range flags.bodies {
		r := template
		r.Body = []byte(body)
		if _, err := p.Add(ctx, r); err != nil {
			return err
		}
	}
	if !flags.fromStdin {
		return nil
	}
	lines := newLines(a.In)
	defer lines.stop()
	for n := 1; ; n++ {
		line, err := lines.next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return atLine(n, err)
		}
		r := template
		if r.Body = line; flags.input.chosen == "json" {
			if r, err = parseRecord(line, template); err != nil {
				return atLine(n, err)
			}
		}
		if _, err := p.Add(ctx, r); err != nil {
			return atLine(n, err)
		}
	}
}

// atLine names the line of stdin that can't be appended.
func atLine(n int, err error) error {
	if errors.Is(err, client.ErrInvalidArgument) || errors.Is(err, errLine) {
		return fmt.Errorf("line %d of stdin: %w", n, err)
	}
	return err
}

func (p *appended) line(took time.Duration) string {
	records, bytes := p.records.Load(), p.bytes.Load()
	return fmt.Sprintf("%s records, %s, %s", grouped(records), mebibytes(bytes), rates(records, bytes, took))
}

func (p *appended) summary(took time.Duration) string {
	records, bytes := p.records.Load(), p.bytes.Load()
	noun := map[bool]string{true: "record", false: "records"}[records == 1]
	text := fmt.Sprintf("appended %d %s (%d bytes) in %v: %s", records, noun, bytes, took.Round(time.Millisecond), rates(records, bytes, took))
	if p.placed.Load() {
		text += fmt.Sprintf("; seq_num %d to %d", p.first.Load(), p.last.Load())
	}
	return text
}
