// Package writer runs the log protocol of pkg/shardlog: it feeds the step function
// with requests, answers and time, carries out what it asks for, and starts a new
// incarnation when one has ended.
//
// One goroutine steps. Everything that takes time, encoding of segments included,
// happens in goroutines of its own and comes back as an event. Observers are called
// by the stepping goroutine, in the order of the protocol: what they hear of a slot
// comes before the answers to that slot's appends.
package writer
