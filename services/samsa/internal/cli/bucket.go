package cli

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/client"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (a *app) bucketCommand() *cobra.Command {
	return a.group("bucket", "Work with buckets", "",
		a.bucketList(), a.bucketCreate(), a.bucketDelete(), a.bucketConfig(), a.bucketReconfigure())
}

type bucketRow struct {
	Name      string     `json:"name"`
	State     string     `json:"state"`
	CreatedAt time.Time  `json:"created_at"`
	DeletedAt *time.Time `json:"deleted_at,omitempty"`
}

func bucketHead() []string { return []string{"NAME", "STATE", "CREATED"} }

func bucketRowOf(b client.BucketInfo) bucketRow {
	state := strings.ToLower(strings.TrimPrefix(b.State.String(), "BUCKET_STATE_"))
	return bucketRow{Name: b.Name, State: state, CreatedAt: b.CreatedAt, DeletedAt: b.DeletedAt}
}

func (b bucketRow) cells() []string { return []string{b.Name, b.State, cellTime(&b.CreatedAt)} }

// rows turns what a listing gives into rows, at most limit of them (0: all).
func rows[T any, R row](items iter.Seq2[T, error], limit int, to func(T) R) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		n := 0
		for item, err := range items {
			if !yield(to(item), err) || err != nil {
				return
			}
			if n++; n == limit {
				return
			}
		}
	}
}

// listFlags are --prefix, --start-after and --limit.
type listFlags struct {
	client.List
	limit int
}

func (l *listFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&l.Prefix, "prefix", "", "only names that begin so")
	c.Flags().StringVar(&l.StartAfter, "start-after", "", "only names after this one")
	c.Flags().IntVar(&l.limit, "limit", 0, "at most so many; 0: all")
}

// list is what to ask for: no larger pages than needed.
func (l *listFlags) list() client.List {
	l.PageSize = min(l.limit, 1000)
	return l.List
}

func (a *app) bucketList() *cobra.Command {
	var flags listFlags
	var f *format
	c := command("list", "List buckets by name", "  samsa bucket list --prefix prod-", cobra.NoArgs,
		func(c *cobra.Command, _ []string) error {
			return a.with(func(cl *client.Client) error {
				return list(a.Out, f, bucketHead(), rows(cl.Buckets(c.Context(), flags.list()), flags.limit, bucketRowOf))
			})
		})
	c.Aliases = []string{"ls"}
	flags.add(c)
	f = tableFormat(c.Flags())
	return c
}

// bucketFlags are the settings of a bucket.
type bucketFlags struct {
	stream           streamFlags
	onAppend, onRead *bool
}

func (b *bucketFlags) add(c *cobra.Command) {
	optionalBool(c.Flags(), &b.onAppend, "auto-create-on-append", "create a missing stream when something is appended to it")
	optionalBool(c.Flags(), &b.onRead, "auto-create-on-read", "create a missing stream when it is read")
	b.stream.add(c)
}

func (b *bucketFlags) config() (client.BucketConfig, []string) {
	inner, paths := b.stream.config()
	config := client.BucketConfig{DefaultStream: inner, CreateStreamOnAppend: b.onAppend, CreateStreamOnRead: b.onRead}
	var mask []string
	for _, path := range paths {
		mask = append(mask, client.PathDefaultStream+"."+path)
	}
	if b.onAppend != nil {
		mask = append(mask, client.PathCreateStreamOnAppend)
	}
	if b.onRead != nil {
		mask = append(mask, client.PathCreateStreamOnRead)
	}
	return config, mask
}

func (a *app) bucketCreate() *cobra.Command {
	var flags bucketFlags
	var f *format
	c := command("create NAME", "Create a bucket",
		"  samsa bucket create my-bucket --auto-create-on-append\n  samsa bucket create archive --retention 0 --storage-class express",
		cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
			config, _ := flags.config()
			return a.with(func(cl *client.Client) error {
				info, err := cl.CreateBucket(c.Context(), args[0], config)
				if err != nil {
					return err
				}
				return a.say(f, fmt.Sprintf("Created bucket %s", info.Name), bucketRowOf(info))
			})
		})
	flags.add(c)
	f = tableFormat(c.Flags())
	return c
}

// say prints a sentence for people, or the object as JSON.
func (a *app) say(f *format, sentence string, r row) error {
	if f.chosen == "json" {
		return show(a.Out, f, r, nil)
	}
	_, err := fmt.Fprintln(a.Out, sentence)
	return err
}

func (a *app) bucketDelete() *cobra.Command {
	return command("delete NAME", "Delete a bucket and all of its streams", "  samsa bucket delete my-bucket",
		cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
			return a.with(func(cl *client.Client) error {
				if err := cl.DeleteBucket(c.Context(), args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(a.Out, "Deleted bucket %s; its data goes in the background\n", args[0])
				return err
			})
		})
}

type bucketSettings struct {
	CreateStreamOnAppend *bool          `json:"create_stream_on_append,omitempty"`
	CreateStreamOnRead   *bool          `json:"create_stream_on_read,omitempty"`
	DefaultStream        streamSettings `json:"default_stream_config"`
}

func bucketSettingsOf(c client.BucketConfig) bucketSettings {
	return bucketSettings{CreateStreamOnAppend: c.CreateStreamOnAppend, CreateStreamOnRead: c.CreateStreamOnRead, DefaultStream: settingsOf(c.DefaultStream)}
}

func (b bucketSettings) cells() []string {
	return append([]string{cellBool(b.CreateStreamOnAppend), cellBool(b.CreateStreamOnRead)}, b.DefaultStream.cells()...)
}

func bucketSettingNames() []string {
	names := []string{"auto-create on append", "auto-create on read"}
	for _, name := range streamSettingNames() {
		names = append(names, "new streams: "+name)
	}
	return names
}

func (a *app) bucketConfig() *cobra.Command {
	var f *format
	c := command("config NAME", "Show a bucket's settings", "  samsa bucket config my-bucket", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string) error {
			return a.with(func(cl *client.Client) error {
				config, err := cl.BucketConfig(c.Context(), args[0])
				if err != nil {
					return err
				}
				return show(a.Out, f, bucketSettingsOf(config), bucketSettingNames())
			})
		})
	f = tableFormat(c.Flags())
	return c
}

func (a *app) bucketReconfigure() *cobra.Command {
	var flags bucketFlags
	var f *format
	c := command("reconfigure NAME", "Change the settings that are given",
		"  samsa bucket reconfigure my-bucket --retention 30d --auto-create-on-append=false", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string) error {
			config, mask := flags.config()
			if len(mask) == 0 {
				return usagef("nothing to change: give at least one setting")
			}
			return a.with(func(cl *client.Client) error {
				now, err := cl.ReconfigureBucket(c.Context(), args[0], config, mask...)
				if err != nil {
					return err
				}
				return show(a.Out, f, bucketSettingsOf(now), bucketSettingNames())
			})
		})
	flags.add(c)
	f = tableFormat(c.Flags())
	return c
}
