// Package figures measures `samsa dev` on the file store, with the load in another
// process, and prints a table. A figure means little by itself: each stands beside
// what the machine's disk, or the system itself, did in the same run.
//
//	make test-performance
//
// Nothing here fails for being slow.
package figures
