package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/client"
)

// DefaultAddress is where a server is looked for.
const DefaultAddress = "http://127.0.0.1:50052"

// How long to go on trying when the server can't be reached, unless --retry-for
// says: a person waits for control commands, data commands ride over a failover.
const (
	controlPatience = 5 * time.Second
	dataPatience    = time.Minute
)

// IO is what a command reads and writes.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what all commands share.
type app struct {
	IO
	address  string
	token    string
	caFile   string
	retryFor time.Duration
}

// Run runs the command line args (without the program's name) and returns the
// exit code. extra commands join the tree.
func Run(ctx context.Context, streams IO, args []string, extra ...*cobra.Command) int {
	a := &app{IO: streams}
	root := a.root()
	root.AddCommand(extra...)
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	return a.exit(command, err)
}

// ExitError is how a command ends that has said all there is to say.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

func (a *app) exit(command *cobra.Command, err error) int {
	var said *ExitError
	switch {
	case err == nil, isClosedPipe(err):
		return 0
	case errors.As(err, &said):
		return said.Code
	case isUsage(err):
		_, _ = fmt.Fprintf(a.Err, "samsa: %v\nSee '%s --help'.\n", err, command.CommandPath())
		return 2
	}
	_, _ = fmt.Fprintf(a.Err, "samsa: %v\n", a.explain(err))
	return 1
}

// isUsage tells whether the command line makes no sense. Two kinds of cobra's own
// errors are known by their words alone.
func isUsage(err error) bool {
	var usage *usageError
	return errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") ||
		strings.HasPrefix(err.Error(), "if any flags in the group")
}

// explain adds what to do about an error that most people meet first.
func (a *app) explain(err error) string {
	var failure *client.Error
	if errors.As(err, &failure) && errors.Is(err, client.ErrUnavailable) && failure.RequestID == "" {
		return fmt.Sprintf("%v\nNo answer from %s: is the server running ('samsa dev' starts one), and is --address right?", err, a.address)
	}
	return err.Error()
}

// isClosedPipe tells whether the reader of our output has gone, as in `| head`.
func isClosedPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

func usagef(format string, a ...any) error { return &usageError{fmt.Errorf(format, a...)} }

func (a *app) root() *cobra.Command {
	root := a.group("samsa", "Durable streams on object storage", "",
		a.bucketCommand(), a.streamCommand(), a.dataCommand(), a.tokenCommand(),
		a.benchCommand(), a.configCommand(), a.adminCommand(), a.versionCommand())
	root.Long = "samsa works with buckets, streams and their records.\n\n" +
		"The server's address is --address or SAMSA_ADDRESS, the access token --token or SAMSA_TOKEN,\n" +
		"the CAs of an https server --ca-file or SAMSA_CA_FILE."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVarP(&a.address, "address", "a", envOr("SAMSA_ADDRESS", DefaultAddress), "server's `URL` (SAMSA_ADDRESS)")
	flags.StringVar(&a.token, "token", "", "access `token` (SAMSA_TOKEN)")
	flags.StringVar(&a.caFile, "ca-file", os.Getenv("SAMSA_CA_FILE"), "PEM `file` of the CAs to check an https server with, instead of the system's (SAMSA_CA_FILE)")
	flags.DurationVar(&a.retryFor, "retry-for", 0, "how `long` to go on while the server fails (5s, for data commands 1m)")
	return root
}

func envOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// group is a command that only has commands.
func (a *app) group(use, short, example string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: use, Short: short, Example: example,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return usagef("unknown command %q for %q", args[0], c.CommandPath())
		},
	}
	group.AddCommand(commands...)
	return group
}

// command is a leaf. want is what it takes besides flags.
func command(use, short, example string, want cobra.PositionalArgs, run func(*cobra.Command, []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: example, RunE: run,
		Args: func(c *cobra.Command, args []string) error {
			if err := want(c, args); err != nil {
				return &usageError{err}
			}
			return nil
		},
	}
}

// connect makes the client that a command uses. Close it.
func (a *app) connect(patience time.Duration, opts ...client.Option) (*client.Client, error) {
	retry := client.DefaultRetry()
	retry.GiveUpAfter = patience
	if a.retryFor > 0 {
		retry.GiveUpAfter = a.retryFor
	}
	token := a.token
	if token == "" {
		token = os.Getenv("SAMSA_TOKEN")
	}
	c, err := client.New(a.address, append(opts,
		client.WithToken(token), client.WithCAFile(a.caFile), client.WithRetry(retry), client.WithUserAgent("samsa-cli"))...)
	if err != nil {
		return nil, &usageError{err}
	}
	return c, nil
}

// with runs f with a client for control calls.
func (a *app) with(f func(*client.Client) error) error {
	c, err := a.connect(controlPatience)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return f(c)
}
