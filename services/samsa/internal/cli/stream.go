package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/client"
)

func (a *app) streamCommand() *cobra.Command {
	var bucket string
	// in runs f with the bucket that -b names.
	in := func(f func(*client.Bucket) error) error {
		if bucket == "" {
			return usagef("which bucket? give -b")
		}
		return a.with(func(cl *client.Client) error { return f(cl.Bucket(bucket)) })
	}
	c := a.group("stream", "Work with the streams of a bucket", "  samsa stream -b my-bucket list",
		a.streamList(in), a.streamCreate(in), a.streamDelete(in), a.streamConfig(in), a.streamReconfigure(in), a.streamTail(in))
	c.PersistentFlags().StringVarP(&bucket, "bucket", "b", "", "the `bucket`")
	return c
}

type inBucket func(func(*client.Bucket) error) error

type streamRow struct {
	Name      string     `json:"name"`
	CreatedAt time.Time  `json:"created_at"`
	DeletedAt *time.Time `json:"deleted_at,omitempty"`
}

func streamHead() []string { return []string{"NAME", "CREATED", "DELETED"} }

func streamRowOf(s client.StreamInfo) streamRow {
	return streamRow{Name: s.Name, CreatedAt: s.CreatedAt, DeletedAt: s.DeletedAt}
}

func (s streamRow) cells() []string {
	return []string{s.Name, cellTime(&s.CreatedAt), cellTime(s.DeletedAt)}
}

func (a *app) streamList(in inBucket) *cobra.Command {
	var flags listFlags
	var f *format
	c := command("list", "List streams by name", "  samsa stream -b my-bucket list --prefix web/", cobra.NoArgs,
		func(c *cobra.Command, _ []string) error {
			return in(func(b *client.Bucket) error {
				return list(a.Out, f, streamHead(), rows(b.Streams(c.Context(), flags.list()), flags.limit, streamRowOf))
			})
		})
	c.Aliases = []string{"ls"}
	flags.add(c)
	f = tableFormat(c.Flags())
	return c
}

func (a *app) streamCreate(in inBucket) *cobra.Command {
	var flags streamFlags
	var f *format
	c := command("create NAME", "Create a stream",
		"  samsa stream -b my-bucket create my-stream\n  samsa stream -b my-bucket create audit --retention 0 --timestamping arrival",
		cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
			config, _ := flags.config()
			return in(func(b *client.Bucket) error {
				info, err := b.CreateStream(c.Context(), args[0], config)
				if err != nil {
					return err
				}
				return a.say(f, fmt.Sprintf("Created stream %s/%s", b.Name(), info.Name), streamRowOf(info))
			})
		})
	flags.add(c)
	f = tableFormat(c.Flags())
	return c
}

func (a *app) streamDelete(in inBucket) *cobra.Command {
	return command("delete NAME", "Delete a stream", "  samsa stream -b my-bucket delete my-stream", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string) error {
			return in(func(b *client.Bucket) error {
				if err := b.DeleteStream(c.Context(), args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(a.Out, "Deleted stream %s/%s; its data goes in the background\n", b.Name(), args[0])
				return err
			})
		})
}

func (a *app) streamConfig(in inBucket) *cobra.Command {
	var f *format
	c := command("config NAME", "Show a stream's settings", "  samsa stream -b my-bucket config my-stream", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string) error {
			return in(func(b *client.Bucket) error {
				config, err := b.StreamConfig(c.Context(), args[0])
				if err != nil {
					return err
				}
				return show(a.Out, f, settingsOf(config), streamSettingNames())
			})
		})
	f = tableFormat(c.Flags())
	return c
}

func (a *app) streamReconfigure(in inBucket) *cobra.Command {
	var flags streamFlags
	var f *format
	c := command("reconfigure NAME", "Change the settings that are given",
		"  samsa stream -b my-bucket reconfigure my-stream --retention 30d", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string) error {
			config, mask := flags.config()
			if len(mask) == 0 {
				return usagef("nothing to change: give at least one setting")
			}
			return in(func(b *client.Bucket) error {
				now, err := b.ReconfigureStream(c.Context(), args[0], config, mask...)
				if err != nil {
					return err
				}
				return show(a.Out, f, settingsOf(now), streamSettingNames())
			})
		})
	flags.add(c)
	f = tableFormat(c.Flags())
	return c
}

type tailRow struct {
	NextSeqNum    uint64 `json:"next_seq_num"`
	NextSeqID     string `json:"next_seq_id"`
	LastTimestamp uint64 `json:"last_timestamp"`
}

func (t tailRow) cells() []string {
	return []string{strconv.FormatUint(t.NextSeqNum, 10), t.NextSeqID, cellMillis(t.LastTimestamp)}
}

func (a *app) streamTail(in inBucket) *cobra.Command {
	var f *format
	c := command("tail NAME", "Show where a stream's next record will stand", "  samsa stream -b my-bucket tail my-stream",
		cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
			return in(func(b *client.Bucket) error {
				tail, err := b.Stream(args[0]).CheckTail(c.Context())
				if err != nil {
					return err
				}
				r := tailRow{NextSeqNum: tail.SeqNum, NextSeqID: tail.SeqID.String(), LastTimestamp: tail.LastTimestamp}
				return show(a.Out, f, r, []string{"next seq_num", "next seq_id", "last timestamp"})
			})
		})
	f = tableFormat(c.Flags())
	return c
}
