package cli

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/client"
)

const adminNote = "It needs the root token, where tokens are asked for."

func (a *app) adminShards() *cobra.Command {
	var f *format
	c := command("shards", "List the shards and who owns each",
		"  samsa admin shards\n  samsa admin shards --format json", cobra.NoArgs,
		func(c *cobra.Command, _ []string) error {
			return a.with(func(cl *client.Client) error {
				shards, unanswered, err := cl.Shards(c.Context())
				if err != nil {
					return err
				}
				return list(a.Out, f, shardHead(), all(shards, func(s client.ShardOwner) shardRow { return shardRowOf(s, unanswered) }))
			})
		})
	c.Long = "Lists all shards: the owner's instance, address and log, the epoch, and the first slot of its part.\n" +
		"A shard is owned, free (the next request for it finds it an owner), or unknown\n" +
		"(nobody claims it, but not all writers answered). " + adminNote
	f = tableFormat(c.Flags())
	return c
}

// all is rows of what is there at once.
func all[T any, R row](items []T, to func(T) R) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		for _, item := range items {
			if !yield(to(item), nil) {
				return
			}
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func cellNumber(n *uint64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatUint(*n, 10)
}

func shardHead() []string {
	return []string{"SHARD", "OWNER", "ADDRESS", "LOG", "EPOCH", "FIRST SLOT", "STATE"}
}

type shardRow struct {
	Shard       uint32  `json:"shard"`
	Owner       string  `json:"owner,omitempty"`
	Address     string  `json:"address,omitempty"`
	Incarnation string  `json:"incarnation,omitempty"`
	Epoch       *uint64 `json:"epoch,omitempty"`
	FirstSlot   *uint64 `json:"first_slot,omitempty"`
	State       string  `json:"state"`
}

func shardRowOf(s client.ShardOwner, unanswered []string) shardRow {
	switch {
	case s.Instance == "" && len(unanswered) > 0:
		return shardRow{Shard: s.Shard, State: "unknown: " + strings.Join(unanswered, ", ") + " did not answer"}
	case s.Instance == "":
		return shardRow{Shard: s.Shard, State: "free"}
	}
	return shardRow{
		Shard: s.Shard, Owner: s.Instance, Address: s.Address, Incarnation: s.Incarnation,
		Epoch: &s.Epoch, FirstSlot: &s.FirstSlot, State: "owned",
	}
}

func (s shardRow) cells() []string {
	return []string{
		strconv.FormatUint(uint64(s.Shard), 10), orDash(s.Owner), orDash(s.Address), orDash(s.Incarnation),
		cellNumber(s.Epoch), cellNumber(s.FirstSlot), s.State,
	}
}

func (a *app) adminWriters() *cobra.Command {
	var f *format
	c := command("writers", "List the stream-writers and how many shards each owns",
		"  samsa admin writers\n  samsa admin writers --format json", cobra.NoArgs,
		func(c *cobra.Command, _ []string) error {
			return a.with(func(cl *client.Client) error {
				writers, err := cl.Writers(c.Context())
				if err != nil {
					return err
				}
				return list(a.Out, f, writerHead(), all(writers, writerRowOf))
			})
		})
	c.Long = "Lists the stream-writers that are registered. " + adminNote
	f = tableFormat(c.Flags())
	return c
}

func writerHead() []string {
	return []string{"INSTANCE", "ZONE", "ADDRESS", "SHARDS", "STATE", "LOG", "SINCE"}
}

type writerRow struct {
	Instance    string    `json:"instance"`
	Zone        string    `json:"zone,omitempty"`
	Address     string    `json:"address"`
	Shards      *int      `json:"shards,omitempty"`
	Drained     bool      `json:"drained"`
	Incarnation string    `json:"incarnation,omitempty"`
	Since       time.Time `json:"since"`
	Problem     string    `json:"problem,omitempty"`
}

func writerRowOf(w client.Writer) writerRow {
	r := writerRow{
		Instance: w.Instance, Zone: w.Zone, Address: w.Address, Drained: w.Drained,
		Incarnation: w.Incarnation, Since: w.Since.UTC(), Problem: w.Problem,
	}
	if w.Problem == "" {
		r.Shards = &w.Shards
	}
	return r
}

// state is what an operator wants to know first.
func (w writerRow) state() string {
	switch {
	case w.Problem != "":
		return "does not answer"
	case w.Drained && *w.Shards > 0:
		return "draining"
	case w.Drained:
		return "drained"
	}
	return "active"
}

func (w writerRow) cells() []string {
	shards := "-"
	if w.Shards != nil {
		shards = strconv.Itoa(*w.Shards)
	}
	return []string{w.Instance, orDash(w.Zone), w.Address, shards, w.state(), orDash(w.Incarnation), cellTime(&w.Since)}
}

type drainFlags struct {
	undo    bool
	timeout time.Duration
}

func (a *app) adminDrain() *cobra.Command {
	flags := drainFlags{timeout: 5 * time.Minute}
	c := command("drain INSTANCE", "Have a stream-writer give its shards to the others, before maintenance",
		"  samsa admin drain writer-2\n  samsa admin drain writer-2 --undo", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string) error {
			if flags.timeout <= 0 {
				return usagef("--timeout %s: want a time from now on", flags.timeout)
			}
			return a.with(func(cl *client.Client) error { return a.drain(c.Context(), cl, args[0], flags) })
		})
	c.Long = "Has a stream-writer hand its shards over, a few at a time, while clients go on, and waits until it owns none.\n" +
		"It takes no others until --undo, or until it is started again. If the wait ends early, the writer goes on. " + adminNote
	c.Flags().BoolVar(&flags.undo, "undo", false, "have the writer take part again")
	c.Flags().DurationVar(&flags.timeout, "timeout", flags.timeout, "how `long` to wait")
	return c
}

// drainEvery is the time between looks at a writer that is draining.
const drainEvery = 200 * time.Millisecond

func (a *app) drain(ctx context.Context, cl *client.Client, instance string, flags drainFlags) error {
	if err := cl.DrainWriter(ctx, instance, flags.undo); err != nil {
		return err
	}
	if flags.undo {
		_, err := fmt.Fprintf(a.Out, "Writer %s takes shards again\n", instance)
		return err
	}
	var left atomic.Int64
	left.Store(-1)
	stop := a.progress(false, func() string { return fmt.Sprintf("%s: %s shards left", instance, shardsLeft(left.Load())) })
	err := awaitDrained(ctx, cl, instance, flags.timeout, &left)
	stop()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Out, "Writer %s is drained: it owns no shards\n", instance)
	return err
}

func shardsLeft(n int64) string {
	if n < 0 {
		return "some"
	}
	return strconv.FormatInt(n, 10)
}

// awaitDrained waits until the writer owns nothing. One that has left owns nothing
// either.
func awaitDrained(ctx context.Context, cl *client.Client, instance string, timeout time.Duration, left *atomic.Int64) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		writers, err := cl.Writers(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil {
			at := slices.IndexFunc(writers, func(w client.Writer) bool { return w.Instance == instance })
			switch {
			case at < 0:
				return nil
			case writers[at].Problem == "" && !writers[at].Drained:
				return fmt.Errorf("the drain of writer %s was undone, or it was started again", instance)
			case writers[at].Problem == "":
				left.Store(int64(writers[at].Shards))
			}
		}
		if left.Load() == 0 {
			return nil
		}
		select {
		case <-time.After(drainEvery):
		case <-ctx.Done():
			return fmt.Errorf("writer %s has %s shards left; it goes on giving them away: %w", instance, shardsLeft(left.Load()), context.Cause(ctx))
		}
	}
}
