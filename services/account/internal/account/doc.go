// Package account holds the rules of buckets and access tokens.
//
// # Deleting a bucket
//
// DeleteBucket marks the row, tells every shard's owner, and returns once all
// have acknowledged: from then on no append to a stream of the bucket is
// acknowledged. Purger does the rest, and all of it if DeleteBucket has failed
// half-way or its process has died: it tells the owners again, unless all have
// acknowledged, removes the rows of the streams a few at a time, and at last the
// bucket's, which frees its name. Every step can be repeated, so any number of
// instances may run one.
//
// # Invariants
//
//   - A stream's row goes only after every owner has acknowledged its bucket's
//     end (Tombstoned), so a name that is free has no owner that still appends
//     to the old stream.
//   - A bucket's name is free only when all its streams' rows are gone, and a
//     name that is created again has another UUID.
package account
