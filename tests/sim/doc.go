// Package sim is the simulation of the whole system: the shipped step functions and
// rules of writers, readers and compactors run against one simulated object store,
// chunk index, catalog, clock and network, driven by a seed.
//
// What is shipped code: pkg/shardlog (log, sealing, taking, hand-over, tail proof),
// the writers' index of recent records, announcements and answers to Locate, the
// readers' service, followers and lookups with all their caches, the compactors'
// every call, and chunkindex.Mem, which passes the same suite as the one in
// Postgres. What is simulated: the store, whose requests get lost, late, doubled,
// refused, truncated and garbled; the index's connection, which breaks before or
// after a commit, and which is put back to an earlier time; messages, which are lost,
// doubled and reordered; processes, which are killed and paused at any moment, and
// writers, which roll.
//
// # One thread of control
//
// Writers are step functions. Readers and compactors are code that waits for
// answers, so each runs in goroutines of a testing/synctest bubble, whose time is
// the simulation's. The world does one thing at a time: it takes the next event,
// lets whoever was waiting for it run until all of them wait again, sorts what they
// ask for, and only then goes on. Seeds run in processes with one processor each, so
// goroutines that wake up at the same instant go on one after the other.
//
// A seed so gives the same events in the same order, unless the code under test meets
// a select of which two cases are ready, or a map whose order matters: there Go rolls
// dice of its own. That happens in some seeds; TestSimulation_Replays counts them. A replay therefore tries ten times, and a failure prints what happened before
// it. The simulation in pkg/shardlog has no goroutines and replays exactly.
//
//	make test-sim SEEDS=20000      any number of seeds
//	make test-sim SEED=17          one, with everything that happened
//
// # What is checked
//
// While it runs: every put into a slot, every chain entry and every deletion against
// the rules (laws.go); every acknowledgement, refusal, tail and record that a client
// gets against what clients were told before (model.go). In the end, without faults:
// every writer that lives has answered, every stream takes appends, every follower
// catches up, the index holds what a rebuild gives, and every record that was
// acknowledged and not let go is read by a fresh reader from an index that was made
// from the store alone (final.go).
package sim
