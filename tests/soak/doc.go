// Package soak uses a split system for as long as it is told, and watches whether
// anything grows that should not: memory and goroutines of each program, objects in
// the store by what they are, rows of the chunk index.
//
//	make soak MINUTES=60
//
// Streams are appended to, read, followed and trimmed to a constant length, others
// live under a retention of a minute, others are created and deleted, and writers
// are restarted now and then. At the end there is a table, with each figure's slope
// over the second half of the run, and a PNG plot. What a run leaves behind for good
// by design (seals, marks, chain entries: a few for each restart) is counted apart.
package soak
