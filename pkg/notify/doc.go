// Package notify carries hints between programs over NATS: which records became
// durable, how far each writer is, what changed in the catalog.
//
// Hints may be lost, and nothing waits for them:
//
//   - Publishing never blocks. What does not fit into the queue, or cannot be
//     sent because NATS is away, is dropped and counted.
//   - A subscriber that is too slow loses messages instead of memory.
//   - Whatever a subscriber may have missed, because it was slow, NATS was away or
//     a message could not be read, comes to it as a Gap; it looks for itself then.
//
// Subjects are samsa.<cluster>.append.<shard>, samsa.<cluster>.beacon and
// samsa.<cluster>.catalog; payloads are protobuf (samsa.cluster.v1), and trace
// context travels in the headers.
package notify
