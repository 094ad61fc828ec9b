// Package announce tells readers about durable records over NATS: a notification
// for each shard with records in a slot, once the slot is durable, and a beacon
// every 100 ms that says how far the log and each shard are.
//
// Nothing depends on an announcement: a reader that misses one learns from the
// next notification or beacon that it did, and asks the shard's owner.
//
// It is not internal: the simulation of the whole system (tests/sim) drives it.
package announce
