// Package compaction moves records from the logs of stream-writers into chunks, and
// collects what is not needed any more. Every decision is a short sequence of calls
// on two interfaces, the store and the index; there is no other state but caches of
// what cannot change. So a compactor can stop at any call, for ever, and another one
// goes on.
//
// # What a log holds
//
// A log's durable prefix is all that was ever acknowledged of it, whatever shard it
// belongs to, so no chain is needed to decide what is valid. A segment in slot p
// proves that every slot up to p − W is durable. A seal that ends a run of segments
// which begins at a durable slot is the log's lowest: everything below it is
// durable, nothing at or above it ever counts.
//
// # A job
//
//  1. read slots [a, b) of a log, from its watermark a on; choose the last, unfull
//     chunks of their streams that are merged in
//  2. insert a pending row, which names the object and all that it is made from
//  3. put the object; what stands there already must be the same bytes
//  4. read it back and compare every record with what was read in 1
//  5. publish: one transaction turns the row live, inserts the chunks, deletes the
//     replaced ones and moves the watermark from a to b
//
// A job that is stopped leaves a pending row at most. Whoever finds it after
// Options.Abandon removes the row and then the object, while all that it was made
// from still stands, or when its records are in other chunks (the slots may have
// been compacted by another job and collected since); otherwise the object is
// verified and turned live.
//
// # Invariants
//
//   - A slot is deleted only of a sealed log, below its seal, when no shard's newest
//     chain entry names the log, after Options.Grace in chunks, when the gone mark
//     stands, and when every record in its slots was found to be in chunks whose
//     objects stand. Seals, chain entries and states are never deleted.
//   - A chunk object is deleted only after its row was removed, which a row that
//     chunks name cannot be. Objects without rows are reported and left alone.
//   - Nothing is compacted or collected on an index that is behind the store: one
//     that does not know of an object that stands, or misses one that it names.
package compaction
