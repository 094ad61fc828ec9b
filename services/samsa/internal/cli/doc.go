// Package cli is the command line: a tree of commands over pkg/client. Nothing
// in it touches the process: input, output, arguments and the context are given,
// and the result is an exit code.
//
// Results go to Out, everything else to Err. The exit code is 0 for success and
// for an output that was closed by its reader, 2 for a command line that makes no
// sense, 1 for any other failure.
package cli
