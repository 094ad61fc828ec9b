// Package catalog keeps the names of Samsa in Postgres: buckets, streams with
// their configuration, and access tokens. It knows nothing of records.
//
// # Names
//
// Names compare by their bytes. A name is taken until its row is gone, and a
// name that is created again gets a fresh UUID, so nothing of the old one can
// show in it.
//
// # Creating
//
// A stream's row is inserted under a share lock on its bucket's row, and
// deleting a bucket changes that row: so no stream appears in a bucket whose
// deletion has begun. Lock order: bucket, then stream.
//
// # Unfinished work
//
// Deleting and reconfiguring go on outside of Postgres: shards' owners must be
// told. The row says what is left to do, so that the work survives whoever began
// it: a stream or bucket in state deleting; a stream whose applied_version is
// behind its config_version. retry_at is when somebody else may take it up.
// Whoever begins it holds it for a while (the parameter hold), finishes it and
// says so (RemoveStream, StreamApplied, BucketTombstoned, RemoveBucket). Workers
// claim what is due (ClaimStreams, ClaimBuckets): SELECT … FOR UPDATE SKIP
// LOCKED hands each row to one of them and moves retry_at in the same statement,
// so no lock is held while owners are called, and a worker that dies only delays
// the row. Doing it twice does no harm: every step is idempotent and names the
// UUID.
//
// # What has ended
//
// Ids of streams whose rows were removed are kept (ended_streams), 16 bytes each, as
// their tombstones are in the shards' states. Whoever brings the catalog up to what the
// object store knows (RestoreStreams) has read the store a while before; without them
// a stream that was deleted meanwhile would come back.
//
// # Deleting what is empty
//
// Whether a stream is empty its owner knows. Workers claim the streams that are to be
// deleted when they are (ClaimEmptyable) and ask. An owner that says yes has ended the
// stream for good, so the row goes at once (EndStream); if the worker dies before
// that, the row is claimed again and the owner says the same.
//
// # Failures
//
// Errors are ErrNotFound, ErrExists, ErrDeleting (each in an *ObjectError that
// says of what), ErrInvalidToken, ErrTokenExpired and ErrUnavailable. The last
// one means that Postgres did not answer in time or broke off: a change may then
// have been made or not. Every call is bounded by Options.Timeout.
//
// Times are the database's, so services' clocks need not agree.
package catalog
