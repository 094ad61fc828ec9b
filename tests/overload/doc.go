// Package overload puts more on a split system than it can do, and puts readers in its
// way that accept nothing.
//
//	make bench-overload
//
// TestOverload finds the rate that one writer sustains on a store that is slow on
// purpose, so that the store and not this machine is the limit, and then offers five
// times that. TestStalledReaders has 1,000 sessions that never read on beside a few
// healthy ones. Both print what they measured.
//
// They fail for refusals that are untyped, records that are missing, memory beyond its
// budget; and, in full, for ratios within the run that miss the goals in
// tests/README.md. In `make test` they run small, and with slack for a machine that
// does much else.
package overload
