// Package chunkindex says which chunk holds a record: the chunk index, kept in
// Postgres (DB) or in memory for tests and simulations (Mem).
//
// It is an index, not the truth: Rebuild makes it again from the footers of the
// chunk objects. What is true of it at any time:
//
//   - A row of chunks names a block of an object that stands in the store and was
//     read back and verified before the row was written. Rows of a stream do not
//     overlap.
//   - Every record in the slots of a log below its watermark is in a row of chunks,
//     unless it lies below its stream's trim point or its stream is tombstoned.
//   - An object's key is a pending row before the object is put. Publish turns the
//     row live, writes its chunks, deletes the ones replaced and moves the log's
//     watermark in one transaction, or fails with ErrLost and does nothing.
//   - live_bytes of an object are the stored bytes of the rows that name it. An
//     object is removed only if it is pending, or live without rows; both the sum and
//     the rows have to say so.
//
// An object is deleted in two steps. Remove is the decision: from then on neither
// Publish nor a reader's lookup can name it. The row stays, as a note that the
// object has to go, until Forget; so a crash in between leaves no orphan, and a put
// that lands late is caught by deleting once more.
//
// Rounds of compactors Enter, a rebuild Excludes them: while it reads the store
// nobody deletes or publishes.
//
// # Failures
//
// ErrLost: somebody else got there first; plan anew. ErrUnavailable: Postgres did
// not answer; a change may have been made or not. *BehindError: the index is older
// than the store, as after a restore; nothing may be compacted or collected until it
// was rebuilt. Times are the database's.
package chunkindex
