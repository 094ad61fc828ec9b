// Package e2e uses a running Samsa as people do: through the command line, with
// real input, while parts of it are killed, stopped and restarted.
package e2e
