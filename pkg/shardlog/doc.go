// Package shardlog is Samsa's log protocol: how one run of a stream-writer writes
// its log, comes to own shards, gives them up, and proves that what it answers is
// current. It is a deterministic step function: events in, actions out, with no
// goroutine, clock or I/O inside. The stream-writer runs it; the simulation in
// this package's tests drives it through every fault it can think of.
//
//	n := shardlog.NewNode(config)
//	for e := range events {
//		for _, a := range n.Step(now, e) {
//			… do a; what it brings comes back as a later event
//		}
//	}
//
// # Objects
//
// All of them are created with put-if-absent and never change.
//
//	log/<incarnation>/<slot>      a segment, or a seal
//	log/<incarnation>/gone        put before the first slot of a log is deleted
//	chain/<shard>/<epoch>         who owns the shard in that epoch
//	state/<shard>/<epoch>/<slot>  the shard's streams as of that slot
//
// An incarnation is one run of a writer. It has one log, and packs the batches of
// all its streams into that log's segments. A shard's history is its chain: each
// entry names an incarnation, the first slot of its part in that incarnation's
// log, and where the part before ends. The highest epoch is the owner.
//
// # Appending
//
// The owner gives a batch its seq_nums in memory and adds it to the open segment.
// Segments go to successive slots, up to Window in flight: slot p is put only when
// every slot up to p − Window is resolved as this incarnation's data. A batch is
// acknowledged when its slot and all lower ones are.
//
// A put answers "created"; "exists", then what stands there is read back, however
// often that takes; or nothing of use, then the same slot is tried again, after a pause
// that doubles. What stands there can be this very segment, whose reply was lost (the
// same Identity), or a seal. A put that is slower than usual is hedged: sent a second
// time. One that times out may have met a line too narrow for all that is under way:
// then only the oldest slot is put, and given twice the time, and one more at once with
// each that lands.
//
// # Sealing
//
// Whoever wants a log to end puts a seal into the first slot that is free. Seals
// race with the owner's puts for the same slots, and the store decides each. The
// lowest seal, all slots below it being data, is the end (file seal.go tells how
// it is found):
//
//   - to acknowledge slot i the owner needs slots 0…i to be its data
//   - the lowest seal k occupies a slot, so nothing at or above k is ever
//     acknowledged
//   - everything below k stands, so nothing acknowledged is lost
//
// So no clock, lease or lock is needed for safety: sealing a living writer's log
// costs it its life and its clients a retry, nothing else. A sealed writer
// acknowledges what stands below the seal, fails the rest as not appended, and
// ends; another incarnation begins.
//
// # Taking a shard
//
// See take.go. The order matters: the end of the predecessor's part is fixed, by a
// seal or by a durable hand-over entry, before the chain entry exists; the state
// object stands before the entry that names it; and nothing is served before the
// entry is known to be this incarnation's.
//
// # Rolling
//
// Slots of an unsealed log are never deleted, so a writer that lives long begins a
// new incarnation now and then (node.go): shard by shard it takes over from itself,
// and requests for the shard under way wait in the new incarnation, which keeps
// their order. An append of a session is not accepted while earlier ones of it are
// on their way into another log: they may yet fail. When all shards are handed over
// the old incarnation seals its own log (retire.go), as one does whose process stops.
//
// # State
//
// A shard's durable state (replica.go) changes only by applying the sections of
// durable segments, on the owner as in a takeover: replaying is the same code as
// living through it. What was accepted but is not durable yet lies over it, and
// conditions are checked against that; whatever is answered is durable.
//
// # Deleting what is empty
//
// A tombstone can depend on the stream being empty (Tombstone.IfEmpty). The owner
// decides, with everything it has accepted: so it either sees an append, and keeps
// the stream, or the append comes later and is refused.
//
// # Producers
//
// A producer's batch is appended at most once, however late it is sent again. What a
// stream remembers for that is bounded; producer.go has the rule for the rest.
//
// # Proof of the tail
//
// An owner that was sealed without noticing would answer from the past. See
// proof.go for what every answer about a tail, a token or a trim point waits for,
// refusals included.
//
// # Invariants
//
//	I1   a slot that stands never changes; it is put again only with the same content
//	I2   acknowledging a batch in slot i implies that slots 0…i are this log's data
//	I3   nothing at or above the lowest seal is acknowledged; a takeover recovers
//	     exactly the slots below it
//	I4   seq_nums are dense and unique along the chain
//	I6   a tail or refusal asked for after an acknowledgement reflects it
//	I7   the predecessor's log is sealed, or the shard handed over, before the chain
//	     entry exists
//	I10  an occupied slot holding one's own segment never fences, a seal always does,
//	     a conflict (409) never does
//	I11  a batch is atomic; in a session a failed batch fails all later ones; a
//	     producer's batch is appended at most once
//
// (The numbers are those of tests/README.md, which has the rest.)
package shardlog
