// Package recent keeps the newest segments of this writer in memory, and the index
// of where the records of each stream stand in them, so that readers need not ask
// the object store for what was just written.
//
// It is not internal: the simulation of the whole system (tests/sim) drives it.
package recent
