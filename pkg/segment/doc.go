// Package segment is the bytes of every object that Samsa puts: segments and
// seals under log/, compacted records under chunk/, entries under chain/, states
// under state/, and the envelope of the other control objects. It also names their
// keys. It does no I/O.
//
// # Conventions
//
// u8, u32, u64 are fixed integers, little-endian. uvarint is an unsigned LEB128
// varint of at most 10 bytes in its shortest form. delta(x) is the distance from
// x, modulo 2^64, as a zigzag varint: it goes either way. string is a uvarint
// length and that many bytes. id is the 16 bytes of a UUID. CRC is CRC-32C
// (Castagnoli), stored as u32. list(T) is a uvarint count and that many T.
//
// Every byte of every object is under a checksum. An object of a version other
// than 1 is refused with a VersionError, damaged bytes with ErrCorrupt. Decoders
// never panic and allocate in proportion to their input; what a compressed block
// unpacks to is bounded by its declared size and by 16 MiB.
//
// # Prefix
//
// Every object begins with the same eight bytes:
//
//	0  4  magic "SMSA"
//	4  1  version: 1
//	5  1  kind: 1 segment, 2 seal, 3 chain entry, 4 state, 5 cluster, 6 gone mark,
//	      7 chunk object
//	6  2  zero
//
// # Log objects
//
// An object of a log is a segment or a seal. Both end with a trailer of 64
// bytes, so the last 64 bytes tell what stands in a slot:
//
//	segment:  prefix | block … block | footer          | trailer
//	seal:     prefix |                 id of its putter | trailer
//
// The trailer, offsets from its start:
//
//	 0  16  incarnation whose log it is
//	16   8  slot
//	24   4  window (W)
//	28   4  footer size, in bytes
//	32   4  CRC of the footer
//	36  16  identity: the first 16 bytes of SHA-256 over (XXH64 of all that
//	        stands before the trailer, u64; bytes 0 to 35 of the trailer)
//	52   1  kind: 1 segment, 2 seal
//	53   1  version: 1
//	54   2  zero
//	56   4  magic "SMSA"
//	60   4  CRC of bytes 0 to 59
//
// A seal's footer is the incarnation that put it.
//
// The identity tells a writer whether what stands in a slot is what it put
// there. Both sides of the comparison are the same incarnation's work for the
// same slot, so what it must catch is accident, not forgery: XXH64 over all
// bytes, and through the footer's CRC the CRC of every block. It also lets
// Verify find a flipped bit in the bytes that no other checksum covers (the
// prefix).
//
// # Block
//
// A block is consecutive records of one stream, whole batches only. A stream has
// one or more blocks in a segment, cut before the batch that would take one
// beyond 256 KiB. Blocks stand in the order of the footer, without gaps, from
// byte 8 on. Uncompressed ("raw") it is:
//
//	u8       version: 1
//	batch … batch, up to the end
//
//	batch:
//	uvarint  number of records, n ≥ 1
//	uvarint  millisecond of their seq_ids, less that of the batch before (0)
//	delta    timestamp of the first record, from that millisecond
//	uvarint  n − 1 times: timestamp, less the one before
//	uvarint  length of the records
//	record … record
//
//	record:
//	uvarint  number of headers
//	string   name, string value: of each header
//	string   body
//
// A block is stored as a zstd frame if it has at least 512 bytes and that saves
// at least one eighth, else as it is. Of a block of 64 KiB or more, three pieces
// of 4 KiB are tried first. The block's checksum, kept in the footer, is the CRC
// over
//
//	id   stream
//	u64  seq_num of its first record
//	u32  number of its records
//	u32  raw size
//	u8   codec: 0 as it is, 1 zstd
//	     the bytes as stored
//
// # Footer
//
// What a takeover and a reader need to know of the segment without its blocks.
//
//	list(state ref)  the newest states of the writer's shards
//	list(section)    ascending by (shard, epoch)
//
//	state ref:
//	uvarint  shard, uvarint epoch, uvarint slot
//
//	section:
//	uvarint        shard
//	uvarint        epoch
//	list(entry)    in order of arrival
//	list(summary)  ascending by stream
//
//	entry:
//	u8       kind: 1 open, 2 configure, 3 tombstone, 4 tombstone-bucket, 5 trim,
//	         6 hand-over
//	id       stream            of 1, 2, 3, 5
//	id       bucket            of 1, 4
//	string   bucket's name     of 1
//	string   stream's name     of 1
//	config                     of 1, 2
//	uvarint  config version    of 1, 2
//	uvarint  trim point        of 5
//
//	config:
//	u8       storage class
//	u8       timestamping mode
//	u8       1: future timestamps are allowed, else 0
//	uvarint  retention, in seconds
//	uvarint  delete-on-empty age, in seconds
//
//	summary:
//	id       stream
//	u8       flags: 1 fence, 2 trim, 4 producers, 8 several blocks
//	uvarint  seq_num of its first record
//	delta    millisecond of its last seq_id, from the summary's before (0), over
//	         sections
//	uvarint  number of blocks  if 8, else there is one
//	block ref … block ref
//	string   fencing token     if 1
//	uvarint  trim point        if 2
//	list(producer batch)       if 4: of each producer the last 5, in order
//
//	block ref (its offset is where the one before ends, its first seq_num too):
//	uvarint  2 × stored size + codec
//	uvarint  raw size          if the codec is 1; else it is the stored size
//	uvarint  number of records
//	delta    first timestamp, from the last one of the block before (from the
//	         millisecond of the summary)
//	uvarint  last timestamp, less the first
//	u32      checksum
//
//	producer batch:
//	string   producer; empty: that of the producer batch before
//	counts
//
//	counts (relative to the producer batch before; to begin with, to one of no
//	records at the summary's first seq_num and timestamp and its millisecond):
//	delta    producer's own count before it, from where the one before ended (0)
//	delta    seq_num, from where the one before ended
//	uvarint  number of records
//	delta    millisecond of the seq_ids, from that of the one before
//	delta    first timestamp, from the last one of the one before
//	uvarint  last timestamp, less the first
//
// # Chunk objects
//
// Records that were compacted: blocks of many streams, like a segment's but cut
// where the compactor was told to. One block is one chunk.
//
//	prefix | block … block | footer | trailer
//
// The trailer is that of log objects, with kind 7, the id of the object in place
// of the slot, and zero in place of the window. The incarnation is that of the log
// whose slots were compacted, or zero.
//
// The footer tells the index of chunks anew, should it be lost:
//
//	uvarint        first of the slots, uvarint number of the slots
//	list(uvarint)  objects whose chunks were taken over, ascending, each less the
//	               one before (0)
//	list(run)      ascending by (stream, seq_num)
//
//	run:
//	id               stream
//	uvarint          seq_num of its first record
//	list(block ref)  consecutive, at least one; times are relative to the block
//	                 before, of whichever run (0)
//
// Runs of one stream do not touch: its records between them stand elsewhere.
//
// # Control objects
//
// Chain entries, states, the cluster object and gone marks have one envelope:
//
//	0      8  prefix
//	8      4  length of the payload, n
//	12     n  payload
//	12+n   4  CRC of all before
//
// Chain entry:
//
//	uvarint  shard
//	uvarint  epoch
//	id       owner
//	string   instance
//	string   address
//	uvarint  window
//	uvarint  first slot of the part
//	uvarint  end of the predecessor's part
//	u8       1: a state ref follows; 0: none
//
// State:
//
//	state ref           its own
//	list(stream state)  in the order given
//	list(id)            tombstones of streams
//	list(id)            tombstones of buckets
//
//	stream state:
//	u8       flags: 1 bucket as before, 2 config as before, 4 fence, 8 trim,
//	         16 producers, 32 forgotten producers ("before": the stream state
//	         before; at first zeros)
//	id       stream
//	id       bucket            unless 1
//	string   bucket's name     unless 1
//	string   stream's name
//	config                     unless 2
//	uvarint  config version
//	uvarint  tail
//	uvarint  last timestamp
//	delta    last millisecond of a seq_id, from the last timestamp
//	string   fencing token     if 4
//	uvarint  trim point        if 8
//	list(producer)             if 16: least recently used first
//	forgotten                  if 32
//
//	producer:
//	string        producer
//	list(counts)  its last batches in order, at least one; to begin with relative
//	              to the tail, the last timestamp and the last millisecond
//
//	forgotten: producers that are in the list no more
//	list(u64, uvarint)  of the last ones, oldest first: XXH64 (seed 0) of the id
//	                    and, if it is a UUIDv7, its millisecond; else 0
//	uvarint             the greatest millisecond of older ones
//	u8                  1: there were older ones without; 0: none
package segment
