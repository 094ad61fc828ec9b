// Package stream holds the nouns that every part of Samsa speaks: what a stream
// is called, where a record stands in it, which shard it belongs to and how its
// seq_ids are made.
//
// # seq_id
//
// A seq_id is a UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, the version,
// then 74 bits that hold the 48-bit seq_num followed by the stream's 26-bit
// salt. The millisecond never falls along a stream and the seq_num always rises,
// so ids rise strictly, both as bytes and as text. Ids are compared by salt and
// seq_num alone; the millisecond is there for people and for other systems.
package stream
