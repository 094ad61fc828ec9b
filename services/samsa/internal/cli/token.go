package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/client"
)

func (a *app) tokenCommand() *cobra.Command {
	return a.group("token", "Work with access tokens", "", a.tokenIssue(), a.tokenRevoke(), a.tokenList())
}

// operations are the names of what a token may allow: list-buckets and so on.
func operations() map[string]client.Operation {
	names := map[string]client.Operation{}
	for number, name := range samsav1.Operation_name {
		if number != 0 {
			names[strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "OPERATION_"), "_", "-"))] = client.Operation(number)
		}
	}
	return names
}

// scopeFlags are --NAME-exact and --NAME-prefix.
type scopeFlags struct{ exact, prefix *string }

func (s *scopeFlags) add(c *cobra.Command, name string) {
	optional(c.Flags(), &s.exact, name+"-exact", "name", "only the one of this name", parseText)
	optional(c.Flags(), &s.prefix, name+"-prefix", "prefix", "all whose names begin so; '' for all", parseText)
	c.MarkFlagsMutuallyExclusive(name+"-exact", name+"-prefix")
}

func (s *scopeFlags) set() client.ResourceSet {
	return client.ResourceSet{Exact: s.exact, Prefix: s.prefix}
}

type tokenFlags struct {
	ops                      []string
	buckets, streams, tokens scopeFlags
	expiresAt                *uint64
	expiresIn                *time.Duration
	autoPrefix               bool
}

func (a *app) tokenIssue() *cobra.Command {
	var flags tokenFlags
	var f *format
	c := command("issue ID", "Make an access token and print its secret, once",
		"  samsa token issue writer --op append --op check-tail --buckets-exact logs --streams-prefix web/\n"+
			"  samsa token issue admin --op all --buckets-prefix '' --streams-prefix '' --access-tokens-prefix '' --expires-in 30d",
		cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
			token, err := flags.token(args[0])
			if err != nil {
				return err
			}
			return a.with(func(cl *client.Client) error {
				secret, err := cl.IssueAccessToken(c.Context(), token)
				if err != nil {
					return err
				}
				return a.say(f, secret, secretRow{ID: args[0], Secret: secret})
			})
		})
	c.Long = "Makes an access token. Operations: all, " + strings.Join(sortedKeys(operations()), ", ") + "."
	c.Flags().StringSliceVar(&flags.ops, "op", nil, "an `operation` to allow; several times, or with commas; all")
	flags.buckets.add(c, "buckets")
	flags.streams.add(c, "streams")
	flags.tokens.add(c, "access-tokens")
	optional(c.Flags(), &flags.expiresAt, "expires-at", "time", "when it ends: RFC 3339, or Unix milliseconds", parseMillis)
	optional(c.Flags(), &flags.expiresIn, "expires-in", "age", "after how long it ends, such as 30d", parseAge)
	c.MarkFlagsMutuallyExclusive("expires-at", "expires-in")
	c.Flags().BoolVar(&flags.autoPrefix, "auto-prefix-streams", false, "give and show stream names without the prefix of --streams-prefix")
	f = tableFormat(c.Flags())
	return c
}

type secretRow struct {
	ID     string `json:"id"`
	Secret string `json:"access_token"`
}

func (s secretRow) cells() []string { return []string{s.ID, s.Secret} }

func (f *tokenFlags) token(id string) (client.AccessToken, error) {
	token := client.AccessToken{
		ID: id, AutoPrefixStreams: f.autoPrefix,
		Buckets: f.buckets.set(), Streams: f.streams.set(), AccessTokens: f.tokens.set(),
	}
	if f.autoPrefix && f.streams.prefix == nil {
		return token, usagef("--auto-prefix-streams needs --streams-prefix")
	}
	known := operations()
	for _, name := range f.ops {
		if name == "all" {
			for _, each := range sortedKeys(known) {
				token.Operations = append(token.Operations, known[each])
			}
			continue
		}
		op, ok := known[strings.ToLower(strings.ReplaceAll(name, "_", "-"))]
		if !ok {
			return token, usagef("--op %q: want all, or one of %s", name, strings.Join(sortedKeys(known), ", "))
		}
		token.Operations = append(token.Operations, op)
	}
	if len(token.Operations) == 0 {
		return token, usagef("a token must allow something: give --op")
	}
	if f.expiresAt != nil {
		token.ExpiresAt = new(time.UnixMilli(int64(*f.expiresAt)).UTC())
	}
	if f.expiresIn != nil {
		token.ExpiresAt = new(time.Now().Add(*f.expiresIn).UTC())
	}
	return token, nil
}

func (a *app) tokenRevoke() *cobra.Command {
	return command("revoke ID", "End an access token", "  samsa token revoke writer", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string) error {
			return a.with(func(cl *client.Client) error {
				if _, err := cl.RevokeAccessToken(c.Context(), args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(a.Out, "Revoked access token %s\n", args[0])
				return err
			})
		})
}

type tokenRow struct {
	ID           string     `json:"id"`
	ExpiresAt    *time.Time `json:"expires_at,omitempty"`
	Buckets      string     `json:"buckets"`
	Streams      string     `json:"streams"`
	AccessTokens string     `json:"access_tokens"`
	AutoPrefix   bool       `json:"auto_prefix_streams"`
	Operations   []string   `json:"operations"`
}

func tokenRowOf(t client.AccessToken) tokenRow {
	r := tokenRow{
		ID: t.ID, ExpiresAt: t.ExpiresAt, AutoPrefix: t.AutoPrefixStreams,
		Buckets: scopeName(t.Buckets), Streams: scopeName(t.Streams), AccessTokens: scopeName(t.AccessTokens),
	}
	for _, op := range t.Operations {
		r.Operations = append(r.Operations, nameOf(operations(), op))
	}
	return r
}

// scopeName writes a scope as a pattern: a name, a prefix with a star, or "-".
func scopeName(s client.ResourceSet) string {
	switch {
	case s.Exact != nil:
		return *s.Exact
	case s.Prefix != nil:
		return *s.Prefix + "*"
	}
	return "-"
}

func (t tokenRow) cells() []string {
	ops := strings.Join(t.Operations, ",")
	if len(t.Operations) == len(operations()) {
		ops = "all"
	}
	return []string{t.ID, cellTime(t.ExpiresAt), t.Buckets, t.Streams, t.AccessTokens, ops}
}

func (a *app) tokenList() *cobra.Command {
	var flags listFlags
	var f *format
	c := command("list", "List access tokens by id", "  samsa token list", cobra.NoArgs,
		func(c *cobra.Command, _ []string) error {
			return a.with(func(cl *client.Client) error {
				return list(a.Out, f, []string{"ID", "EXPIRES", "BUCKETS", "STREAMS", "TOKENS", "OPERATIONS"},
					rows(cl.AccessTokens(c.Context(), flags.list()), flags.limit, tokenRowOf))
			})
		})
	c.Aliases = []string{"ls"}
	flags.add(c)
	f = tableFormat(c.Flags())
	return c
}
