// Package dev is `samsa dev`: the whole system in one process. Embedded etcd and
// NATS, a Postgres child and a store of files take the place of a cluster's; the
// services are the very modules that the separate programs run, find each other
// through the same etcd, and call each other without sockets.
//
// Everything lives below one folder and survives restarts:
//
//	.samsa/lock       held by the one instance that may use the folder
//	.samsa/store      the object store: the truth for all data
//	.samsa/postgres   names, configurations, access tokens
//	.samsa/etcd       who is alive
//	.samsa/nats       which port NATS listens on
//
// All other settings are those of the separate programs, with defaults for one
// machine. What names another etcd, NATS or Postgres is not used, and it says so;
// storage.url, if set, is used, so that another store can be tried.
package dev
