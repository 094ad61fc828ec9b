// Package live follows the tails of streams for the sessions that read them.
//
// A stream that somebody follows has one follower here, shared by all its
// sessions: each new block is fetched, checked, decoded and serialized once, and
// stays for a while in a ring of frames from which the sessions help themselves.
// A session that is too slow finds its position gone from the ring; it catches up
// from blocks and comes back. Nobody waits for it.
//
// # Why nothing is missed
//
// What a follower has delivered is the stream's records up to its position,
// without a gap: a block is delivered only if it begins at or before the position.
// Whatever is durable gets there in one of two ways:
//
//   - A notification brings the next block. Notifications are published after
//     durability, so they can be believed; that none came proves nothing.
//   - Locate, asked with a proof of the tail, names what follows the position.
//
// A follower asks Locate when it starts, after it was registered to receive
// notifications, and whenever it may have missed one: a block begins behind its
// position; the shard's notifications or its owner's beacon name a slot that was
// not announced; a new epoch begins, for the owner before it may have died between
// durability and announcement; or no beacon has come for a while, because NATS or
// the owner is down, and then again and again. Now and then it asks for no reason:
// a stream may have been deleted.
//
// # Locks
//
// Hub.mu, then feed.mu, then follower.mu; and rings.mu before follower.mu, with none of
// the others. None is held during a call.
//
// It is not internal: the simulation of the whole system (tests/sim) drives it.
package live
