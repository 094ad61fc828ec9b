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
// A log that nobody ended is sealed by the compactor after a while (seal.go).
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
//     objects stand. Seals and chain entries are never deleted.
//   - A state is deleted only if no takeover can begin with it or name it, whatever
//     is under way, and after Options.Grace.
//   - A chunk object is deleted only after its row was removed, which a row that
//     chunks name cannot be. Objects without rows are reported and left alone.
//   - Nothing is compacted or collected on an index that is behind the store: one
//     that does not know of an object that stands, or misses one that it names.
//
// # States
//
// Which states a takeover from the head of a chain needs: the one that the head
// names; the one that the last footer of the head's part names; and the one that the
// takeover itself puts at the end of the part and names in the next entry. Where the
// part ends is not settled while the head is the head, and may be taken for two
// places: where its owner let the shard go, and where the owner's log was sealed
// after that. But:
//
//   - A state's slot is never above an end of its part. Its owner puts it as of a
//     durable slot, a takeover as of the end. So the footer below that slot is
//     durable, and not behind the part's last one.
//   - Footers name an owner's states in the order in which it put them. So a state
//     older than the one that a footer of the part names is named by no later one.
//
// One takes the newest state that stands, the one that the footer below it names, and
// the one that the footer below that names: what is older than the last is needed by
// nobody, but for the one that the head names. The second step is there because the
// first state may be a takeover's, put behind the end of the log, though the next
// takeover may end the part earlier; what a footer names is the owner's own, from
// before it let go.
//
// The head may have changed by then. A new head of the next epoch names the state at
// an end of the part, which is not older than what was kept; a later one needs no
// state of this epoch. A takeover that has read an older head and misses a state, or
// creates one again, finds that the chain has moved on (pkg/shardlog, take.go).
// A put that lands late brings an old state back; the next round finds it.
//
// Readers go by the states that older entries name, where they stand: those are what
// Options.Grace is for.
//
// It is not internal: the simulation of the whole system (tests/sim) drives it.
package compaction
