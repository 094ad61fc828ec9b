// Package mtls lets the services of a cluster know each other by certificates, and
// reads certificates again when their files change.
//
// # Identities
//
// A certificate of the cluster's CA says which role its holder has, by a URI
// spiffe://<trust domain>/samsa/<role> or a DNS name <role>.<trust domain> among its
// subject alternative names. Addresses do not count: they come from etcd and change
// with every pod. A certificate of another domain or CA, or of none of the roles that
// may be there at all, is refused by clients and by servers. Which of these roles a
// call is for, and which may make it, package auth checks call by call, on both sides.
//
// # Reloading
//
// Files are looked at when a connection is made, at most once in Options.Every. A
// pair that does not fit, as while it is being replaced, leaves the one before in
// use. Connections that stand keep what they were made with.
package mtls
