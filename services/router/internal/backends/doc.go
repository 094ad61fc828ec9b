// Package backends finds the instances of the services: from discovery's
// membership, and the owners of shards by way of shardroute.
package backends
