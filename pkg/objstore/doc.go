// Package objstore is the object store as Samsa needs it: objects are created
// once, never changed, read in ranges, listed by key and deleted.
//
// The heart of it is [Store.PutIfAbsent]. Every safety property of the log, of
// the chains and of the cluster object rests on three promises of a store:
//
//   - of all who create one key exactly one succeeds, and the object holds that
//     one's bytes for as long as it stands;
//   - an answer of PutIfAbsent (nil or [ErrExists]), and an object that a read
//     has shown, survives a crash of the store;
//   - a read begun after such an answer sees the object.
//
// [Open] gives a store for a URL: s3://bucket/prefix, file:///folder, mem://.
// [Probe] tests the promises at start. Wrappers add to a store what is the same
// for all: [WithRetry], [WithMetrics], [WithTracing]; package faulty adds faults
// for tests. Package objstoretest holds the one suite that every store and every
// wrapper passes.
package objstore
