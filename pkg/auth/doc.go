// Package auth decides who may call what. README.md beside it is the guide for
// those who run Samsa.
//
// # Rules
//
// One table has a rule for every RPC of samsa.v1 and samsa.cluster.v1: which
// operation it is, which fields of its request name the resource, which roles may
// call it. It is checked against the descriptors, and each server against it: an
// RPC without a rule fails a test and keeps a program from starting.
//
// # Two checks
//
// The router checks each call (Guard.Front): the token, its operations, and the
// names in the first frame, which it reads for routing anyway. The service checks it
// again (Guard.ServerOptions) with the request decoded: every request of a session,
// the commands among the records, what a new token may have. The prefix of
// auto_prefix_streams is put before names there, taken from responses and errors
// there, and at the router only added for finding the owner.
//
// # What is remembered
//
// A Verifier remembers tokens by the SHA-256 of their text; the text is not kept.
// A token that was found valid counts as such for 30 s, unless a change of it is
// announced: then Postgres is asked before it is used again, and sessions under it
// end if it is gone. While Postgres is unreachable, a token goes on for OutageTTL
// after it was last found valid; one whose change was announced does not, and others
// are answered with SERVICE_UNAVAILABLE. Expiry is compared at each use.
//
// # Peers
//
// Every call at a service comes from another service, which is known by its
// certificate (package mtls), by a shared secret, or by being in the same process.
// With certificates the rule's roles count: for samsa.v1 it is the router's. A call
// of samsa.v1 brings a token besides.
package auth
