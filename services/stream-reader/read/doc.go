// Package read has the rules of reading: where a read starts, what it may
// deliver, when it ends.
//
// # Invariants
//
//   - Every answer that depends on the tail rests on a Locate with a proof of the
//     tail that was begun after the request arrived (I6). Only blocks below a tail
//     that an owner named, or that was announced, are read (I5), and only blocks
//     that passed their checksum (I12).
//   - What a read or session delivers is dense and in order. It leaves out records
//     only at its start (older than the timestamp asked for), and skips positions
//     only where the stream was trimmed.
//   - What a session holds is bounded: a few frames of catching up, paid for from
//     one budget, and references to frames of a ring that is not its own (I14). One
//     whose client stalls holds nothing of the budget, only the frame that is being
//     sent; where that ends it goes on. A read that waits holds what it has gathered.
//
// A cursor finds blocks: the newest ones through the owner, older ones through the
// footers. A session alternates between catching up by a cursor and following a
// live.Subscription.
//
// It is not internal: the simulation of the whole system (tests/sim) drives it.
package read
