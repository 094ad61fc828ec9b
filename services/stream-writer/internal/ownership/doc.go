// Package ownership decides which shards this writer goes after.
//
// Writers rank for each shard by rendezvous hash of their instance name. A writer
// takes the shards that it ranks first for among the members it knows, whenever
// membership changes; it takes any shard that somebody asks it to take. An owner
// that still ranks first keeps its shard when it is asked to hand it over.
//
// Whoever seals a log offers its other shards to those who rank first for them
// (offer.go).
//
// Membership may be old, wrong, or differ from one writer to the next: nothing but
// speed depends on it. Who owns a shard is what its chain says.
package ownership
