// Package admin answers operators: who the stream-writers are, which shards each
// owns, and that one is to give its shards away. It keeps nothing; each answer is
// what discovery and the writers say at that moment.
package admin
