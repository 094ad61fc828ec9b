// Package bucket holds the rules of a bucket's streams: their names, their
// configuration, their end.
//
// A stream is a row in the catalog and, once it is used, a stream that its
// shard's owner holds. What is changed is changed in the row first, then at the
// owner; the call returns when the owner has acknowledged. If the owner can't be
// reached the row says what is left to do, the call fails with *UnfinishedError,
// and a Finisher, of whatever instance, does it later. Telling an owner twice
// does no harm: it is told the stream's UUID, and with a configuration its
// version.
//
// A stream with delete_on_empty_min_age_seconds is deleted once it has held no record
// and was not appended to for that long. The Finisher asks its owner every so often;
// here the owner's end of the stream comes first, and then the row goes.
//
// # Invariants
//
//   - A name becomes free only after the owner has acknowledged the old stream's
//     end, so no append to the old stream is acknowledged beside the new one.
//   - A delete that has returned without error was acknowledged by the owner.
//   - A reconfiguration that has returned without error is in effect; one that
//     has returned *UnfinishedError takes effect later, unless another one or the
//     stream's deletion overtakes it.
package bucket
