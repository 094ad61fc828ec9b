// Command samsa is Samsa's command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/samsa-io/samsa/services/samsa/internal/cli"
)

func main() {
	// A closed pipe is an error that the command sees, not the program's end.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := cli.Run(ctx, cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}
