// Package fake is a cluster in memory for tests: owners that write real segments,
// states and chain entries into a store, answer Locate and announce what they did
// over a bus that loses, repeats, delays and reorders as it is told. Beside it
// stands the model of what every stream holds.
package fake
