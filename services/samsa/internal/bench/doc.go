// Package bench puts a load on a Samsa server and measures it.
//
// Every record says who wrote it and as which of that writer's records, and its
// other bytes follow from that. So whoever reads it can tell a loss, a repeat, a
// swap and a changed byte; after the load all streams are read back and checked.
//
// A latency is counted from when a batch was due, not from when a late client got
// to send it.
package bench
