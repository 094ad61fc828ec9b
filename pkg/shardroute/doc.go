// Package shardroute brings calls to the writer that owns a shard, and has another
// writer take the shard when its owner is gone.
//
// It knows no truth. It remembers for each shard who owned it last, and starts
// with the best-ranked member where it remembers nobody. From there it goes by
// what happens:
//
//   - A writer that refuses with a NotOwner detail names the owner: try that one.
//   - An owner that cannot be reached, or refuses with SERVICE_UNAVAILABLE, has
//     the best-ranked other writer asked to take the shard (TakeShard). That
//     writer judges whether the owner lives, so nothing here needs to be right
//     about it. Leases are not waited for, and the members known last serve while
//     etcd is down.
//   - An owner that is slow to answer is looked into in the same way, once for all
//     who wait for it, and not again for a while if it keeps the shard. Calls go on
//     to it until somebody else is known to own the shard: it may only be slow, and
//     is not to lose its clients for that.
//   - A writer that did not answer is asked last for a while, about any shard.
//   - An owner that broke off after the request was sent may have done what it was
//     asked for. The caller gets that error; a new owner is looked for meanwhile.
//
// Callers of one shard that need a new owner share one search for it. Between
// searches there is a jittered pause that grows, until the caller's context ends.
// What a caller gets then is a typed SERVICE_UNAVAILABLE: nothing has happened.
package shardroute
