// Package crash kills real programs at every failpoint that there is, restarts
// them, and checks that nothing acknowledged is missing or doubled and that the
// system goes on.
//
//	make test-crash                                         # every point
//	go test ./tests/crash                                   # a quarter of them, chosen at random
//	go test ./tests/crash -run 'TestCrash/chain-put.after'  # one
package crash
