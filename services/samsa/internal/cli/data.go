package cli

import (
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/client"
)

// target is the stream that -b and -s name.
type target struct{ bucket, stream string }

func (t *target) check() error {
	switch {
	case t.bucket == "":
		return usagef("which bucket? give -b")
	case t.stream == "":
		return usagef("which stream? give -s")
	}
	return nil
}

func (a *app) dataCommand() *cobra.Command {
	t := &target{}
	c := a.group("data", "Append to a stream and read it",
		"  echo 'Hello, World!' | samsa data -b my-bucket -s my-stream append --from-stdin\n  samsa data -b my-bucket -s my-stream read",
		a.appendCommand(t), a.readCommand(t), a.subscribeCommand(t), a.trimCommand(t), a.fenceCommand(t))
	c.PersistentFlags().StringVarP(&t.bucket, "bucket", "b", "", "the `bucket`")
	c.PersistentFlags().StringVarP(&t.stream, "stream", "s", "", "the `stream`")
	return c
}

// open makes a client for a data command, and the handle of its stream.
func (a *app) open(t *target) (*client.Client, *client.Stream, error) {
	if err := t.check(); err != nil {
		return nil, nil, err
	}
	c, err := a.connect(dataPatience)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Bucket(t.bucket).Stream(t.stream), nil
}

// conditionFlags are the conditions of an append.
type conditionFlags struct{ client.Conditions }

func (f *conditionFlags) add(c *cobra.Command) {
	optional(c.Flags(), &f.MatchSeqID, "match-seq-id", "seq_id", "append only if the next record would get this", client.ParseSeqID)
	optional(c.Flags(), &f.MatchSeqNum, "match-seq-num", "seq_num", "append only if the next record would get this", parseUint)
	optional(c.Flags(), &f.FencingToken, "fencing-token", "token", "append only if this is the stream's fencing token", parseText)
}

// commandFlags are the flags of a command record.
type commandFlags struct {
	conditionFlags
	timestamp *uint64
}

func (f *commandFlags) add(c *cobra.Command) {
	f.conditionFlags.add(c)
	optional(c.Flags(), &f.timestamp, "timestamp", "time", "of the command: Unix milliseconds or RFC 3339; a client-require stream demands one", parseMillis)
}

// options number the lone command, so that it can be sent again without harm.
func (f *commandFlags) options() []client.AppendOption {
	options := []client.AppendOption{client.AsProducer(client.ProducerSeq{ID: uuid.Must(uuid.NewV7()).String()})}
	if f.timestamp != nil {
		options = append(options, client.WithTimestamp(*f.timestamp))
	}
	return options
}

type ackRow struct {
	StartSeqNum uint64 `json:"start_seq_num"`
	EndSeqNum   uint64 `json:"end_seq_num"`
	NextSeqNum  uint64 `json:"next_seq_num"`
	StartSeqID  string `json:"start_seq_id"`
	EndSeqID    string `json:"end_seq_id"`
}

func (r ackRow) cells() []string {
	return []string{strconv.FormatUint(r.StartSeqNum, 10), r.StartSeqID}
}

func ackRowOf(k client.Ack) ackRow {
	return ackRow{k.StartSeqNum, k.EndSeqNum, k.Tail.SeqNum, k.StartSeqID.String(), k.EndSeqID.String()}
}

func (a *app) trimCommand(t *target) *cobra.Command {
	var flags commandFlags
	var f *format
	c := command("trim SEQ_NUM", "Drop all records before a seq_num, for good",
		"  samsa data -b my-bucket -s my-stream trim 1000", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string) error {
			seqNum, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usagef("seq_num %q: want a number", args[0])
			}
			cl, s, err := a.open(t)
			if err != nil {
				return err
			}
			defer func() { _ = cl.Close() }()
			ack, err := s.Trim(c.Context(), seqNum, flags.Conditions, flags.options()...)
			if err != nil {
				return err
			}
			return a.say(f, fmt.Sprintf("Trimmed %s/%s before seq_num %d", t.bucket, t.stream, min(seqNum, ack.EndSeqNum)), ackRowOf(ack))
		})
	flags.add(c)
	f = tableFormat(c.Flags())
	return c
}

func (a *app) fenceCommand(t *target) *cobra.Command {
	var flags commandFlags
	var f *format
	c := command("fence TOKEN", "Set the stream's fencing token; '' takes it off",
		"  samsa data -b my-bucket -s my-stream fence owner-2 --fencing-token owner-1", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string) error {
			cl, s, err := a.open(t)
			if err != nil {
				return err
			}
			defer func() { _ = cl.Close() }()
			ack, err := s.Fence(c.Context(), args[0], flags.Conditions, flags.options()...)
			if err != nil {
				return err
			}
			return a.say(f, fmt.Sprintf("Fenced %s/%s with %q", t.bucket, t.stream, args[0]), ackRowOf(ack))
		})
	flags.add(c)
	f = tableFormat(c.Flags())
	return c
}
