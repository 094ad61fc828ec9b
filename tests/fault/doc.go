// Package fault runs real split programs under a nemesis and checks the histories
// that their clients record.
//
// Streams live for a few seconds each, several at a time; concurrent clients append
// (plainly, conditionally, fenced, as producers, through sessions), fence, trim,
// read, follow and ask for the tail. Meanwhile the nemesis kills, pauses, restarts
// and drains programs, cuts, stalls and delays their connections to etcd, NATS,
// Postgres, the object store and each other, and lets the object store fail. When a
// stream's time is over, what is left of it is read, and package history looks for
// an order that explains all answers.
//
//	MINUTES=10 SEED=7 go test ./tests/fault -run TestFaults -v -timeout 0
//
// The seed decides what the nemesis and the clients do, but not when: real
// processes do not replay. A history that cannot be explained is written to a
// folder, with porcupine's picture of it, the nemesis's diary and the logs.
package fault
