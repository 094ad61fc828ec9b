// Package survey looks at an object store as a whole. Rebuild makes the chunk index
// from it, as after Postgres was lost or put back to an older backup; Verify checks
// every byte and every rule, and says where one is broken. None changes the
// store.
//
// # Rebuild
//
// It has the index alone: rounds of compactors end first, and none begins before it
// is done. Then nobody deletes anything, and nobody publishes; writers go on. The
// footers of the chunk objects give the chunks, the newest holder of a record has
// it. An object whose log still has slots, or whose sources stand, is read and
// checked whole: something may yet be deleted because of it. The newest state of
// each shard and the footers of all durable slots say what of the streams was trimmed
// or deleted, and which live. The index is replaced in one transaction, so a
// rebuild that was interrupted has changed nothing and is started again.
//
// What the index has of an object that does not stand, or is damaged, and that neither
// another object nor a slot holds, stays in it and is reported: the object can be put
// back.
//
// Streams go on being deleted meanwhile. The catalog keeps in mind which have ended,
// and does not take those back that the store seemed to know as alive.
//
// # Reconcile
//
// Postgres can also be put back to a moment after which no chunk was published: then
// the catalog alone is behind. The newest states tell, and only then are logs read. A
// catalog that was not put back is ahead of every state: it has a stream's row before
// the shard hears of it, and keeps in mind what has ended.
//
// # Verify
//
// Objects that come and go while it looks are no damage: logs are read before chunk
// objects, and those in ascending order, so that a record which moves is met where
// it went; what is missing is looked up once more before it is reported. In memory
// are some hundred bytes for each stream, whatever the amount of data.
package survey
