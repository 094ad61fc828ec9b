// Command samsa is Samsa's command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/samsa-io/samsa/services/samsa/internal/cli"
	"github.com/samsa-io/samsa/services/samsa/internal/dev"
)

func main() {
	// A closed pipe is an error that the command sees, not the program's end. To
	// ignore the signal would do the same, but child processes would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := cli.Run(ctx, cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:],
		dev.Command(os.Environ()))
	stop()
	os.Exit(code)
}
