// Package expiry trims the streams that this writer owns by age.
//
// A record expires when its timestamp lies more than the stream's retention behind
// the time (package storetime: the earlier of this machine's and the store's). The
// stream is trimmed up to the first record that has not: an entry in the log, which
// is never undone, whatever the configuration says later. Timestamps never fall
// along a stream, so what is below that record has expired too.
//
// A pass goes through the streams of the owned shards a page at a time, every
// storage.cleanup_interval_secs, and through a shard at once when one of its streams
// was reconfigured. For each stream it remembers a timestamp that its first record
// is not older than, so most streams cost nothing. Where the first record that has
// not expired stands is looked up in the index of recent records, then in the chunk
// index and the footers; a pass makes a bounded number of such look-ups, and the
// next one goes on where it ended.
//
// So that a busy stream is not trimmed by a few records every pass, it is trimmed
// when its oldest record is overdue by a hundredth of the retention, an hour at most.
//
// # Invariants
//
//   - A stream is trimmed to a position only if it was seen that the record before
//     it has expired, or that its last record has.
//   - A trim takes effect only while the configuration that asked for it is the
//     stream's: see shardlog.Trim.
package expiry
