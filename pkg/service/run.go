package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/dig"
	"go.uber.org/fx"

	"github.com/samsa-io/samsa/pkg/config"
)

// Exit codes of a program.
const (
	ExitOK     = 0
	ExitFailed = 1 // it could not start, or a part of it failed
	ExitUsage  = 2 // its configuration is wrong
)

// Program is a main: its configuration and what it is made of.
type Program struct {
	Name string // such as "stream-writer"
	// Config is the platform's part, holding the defaults; loading fills it.
	Config *Config
	// Sections are all that the program knows, the platform's included; nil: just
	// the platform's.
	Sections []config.Section
	// Module returns the program's modules. It is called once the configuration
	// is loaded; Platform is added to it.
	Module func() fx.Option
}

// Main runs a program until it is told to stop, and exits.
func Main(p Program) {
	os.Exit(p.Run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// Run is Main with its surroundings as arguments; it returns the exit code. With
// "health" as the first argument it asks the running program how it does.
func (p Program) Run(args, environ []string, stdout, stderr io.Writer) int {
	asked := len(args) > 0 && args[0] == healthCommand
	if asked {
		args = args[1:]
	}
	loaded, err := config.Load(config.Options{
		Program: p.Name, Sections: p.sections(), Foreign: Foreign(), Args: args, Environ: environ,
	})
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, loaded.Usage())
		return ExitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return ExitUsage
	}
	if asked {
		return askHealth(p.Config, stdout, stderr)
	}
	if p.Config.Observability.ServiceName == "" {
		p.Config.Observability.ServiceName = p.Name
	}
	return RunApp(func() *fx.App {
		return fx.New(Platform(*p.Config, WithLoaded(loaded)), p.Module())
	}, stderr)
}

func (p Program) sections() []config.Section {
	if p.Sections != nil {
		return p.Sections
	}
	return p.Config.Sections()
}

// RunApp runs an app until SIGINT, SIGTERM or fx.Shutdowner, stops it in order
// and returns the exit code. A second signal, or one before there is anything to
// stop, ends it at once.
func RunApp(build func() *fx.App, stderr io.Writer) int {
	signals := listen()
	defer signal.Stop(signals)
	app := buildApp(build, signals)
	if app == nil {
		return ExitFailed
	}
	// From here on fx listens for signals, too: the first one shows up in told.
	told := app.Wait()
	if len(signals) > 0 { // it came while the app was built
		release(app)
		return ExitFailed
	}
	if code, started := startApp(app, told, signals, stderr); !started {
		return code
	}
	signaled := <-told
	forgetFirst(signals)
	return max(signaled.ExitCode, stopApp(app, signals, stderr))
}

// listen gives every signal, from now on: one that came while nobody listened
// would be lost. It has room for the first, which fx tells of, and the second.
func listen() chan os.Signal {
	signals := make(chan os.Signal, 2)
	hear(signals)
	return signals
}

func hear(signals chan<- os.Signal) { signal.Notify(signals, os.Interrupt, syscall.SIGTERM) }

// forgetFirst takes the signal that fx told of out of signals; fx.Shutdowner
// left none there.
func forgetFirst(signals chan os.Signal) {
	// A signal reaches one channel after the other. Notify waits until it has
	// reached them all.
	hear(signals)
	select {
	case <-signals:
	default:
	}
}

// buildApp returns nil if a signal came before all was built.
func buildApp(build func() *fx.App, signals <-chan os.Signal) *fx.App {
	built := make(chan *fx.App, 1)
	go func() { built <- build() }()
	select {
	case app := <-built:
		return app
	case <-signals:
		return nil
	}
}

// startApp starts the app. A signal meanwhile stops it once it has started: its
// hooks run to their ends, so that what they began is ended in order too.
func startApp(app *fx.App, told <-chan fx.ShutdownSignal, signals chan os.Signal, stderr io.Writer) (code int, started bool) {
	ctx, cancel := context.WithTimeout(context.Background(), app.StartTimeout())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- app.Start(ctx) }()
	select {
	case err := <-result:
		if err != nil {
			release(app)
		}
		return report(stderr, "could not start", err), err == nil
	case signaled := <-told:
		forgetFirst(signals)
		return finishStart(app, signaled, result, signals, stderr), false
	}
}

// release ends fx's listening for signals. The hooks of an app that could not
// start were run backwards before.
func release(app *fx.App) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = app.Stop(ctx)
}

func finishStart(app *fx.App, signaled fx.ShutdownSignal, result <-chan error, again <-chan os.Signal, stderr io.Writer) int {
	code, ended := await(result, again, "could not start", stderr)
	if !ended || code != ExitOK {
		return code
	}
	return max(signaled.ExitCode, stopApp(app, again, stderr))
}

func stopApp(app *fx.App, again <-chan os.Signal, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(context.Background(), app.StopTimeout())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- app.Stop(ctx) }()
	code, _ := await(result, again, "did not stop cleanly", stderr)
	return code
}

// await waits for a start or stop to end, or for the signal that ends it at once.
func await(result <-chan error, again <-chan os.Signal, complaint string, stderr io.Writer) (code int, ended bool) {
	select {
	case err := <-result:
		return report(stderr, complaint, err), true
	case <-again:
		fmt.Fprintln(stderr, "told twice: ending at once")
		return ExitFailed, false
	}
}

func report(stderr io.Writer, what string, err error) int {
	if err == nil {
		return ExitOK
	}
	fmt.Fprintf(stderr, "%s: %v\n", what, dig.RootCause(err))
	return ExitFailed
}
