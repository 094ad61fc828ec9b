package cluster

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// Dependency is what a process needs a Link for.
type Dependency string

// The dependencies. Peers is the other way round: what others reach the process by.
const (
	Etcd     Dependency = "etcd"
	NATS     Dependency = "nats"
	Postgres Dependency = "postgres"
	ObjStore Dependency = "store"
	Peers    Dependency = "peers"
)

// Dependencies are all of them.
func Dependencies() []Dependency { return []Dependency{Etcd, NATS, Postgres, ObjStore, Peers} }

// Link is the link of a process with Options.Links.
func (c *Cluster) Link(t testing.TB, process string, d Dependency) *Link {
	t.Helper()
	l := c.links[process][d]
	if l == nil {
		t.Fatalf("%s has no link for %s: the cluster needs Options.Links", process, d)
	}
	return l
}

// SetStoreFaults decides what happens to a process's requests to the object store
// from now on; StoreFaults{} is nothing.
func (c *Cluster) SetStoreFaults(t testing.TB, process string, f StoreFaults) {
	t.Helper()
	c.store.set(c.Link(t, process, ObjStore).Address, f)
}

// StoreFaultsMet counts the requests that met each fault.
func (c *Cluster) StoreFaultsMet() map[string]int { return c.store.counts() }

// linkedEnv makes the links of a process and tells it of them.
func (c *Cluster) linkedEnv(t testing.TB, process string) []string {
	if c.store == nil {
		c.store = newStoreProxy(t, c.storeAddress, c.options.Seed)
	}
	database, err := url.Parse(c.postgres.URL)
	if err != nil {
		t.Fatal(err)
	}
	links := map[Dependency]*Link{
		Etcd:     newLink(t, hostOf(c.Etcd.Endpoint)),
		NATS:     newLink(t, hostOf(c.NATS.URL)),
		Postgres: newLink(t, database.Host),
		ObjStore: newLink(t, c.store.address),
		Peers:    newLink(t, loopback(c.ports[process])),
	}
	c.links[process] = links
	database.Host = links[Postgres].Address
	return []string{
		"SAMSA_SERVER_ETCD_ENDPOINTS=http://" + links[Etcd].Address,
		"SAMSA_NATS_URLS=nats://" + links[NATS].Address,
		"SAMSA_DATABASE_URL=" + database.String(),
		"SAMSA_STORAGE_S3_ENDPOINT=http://" + links[ObjStore].Address,
		"SAMSA_SERVER_ADVERTISE_ADDRESS=" + links[Peers].Address,
	}
}

// hostOf cuts the scheme off.
func hostOf(address string) string {
	if _, host, ok := strings.Cut(address, "://"); ok {
		return host
	}
	return address
}

// Router is the address of the nth router, as a URL for clients.
func (c *Cluster) Router(n int) string {
	return "http://" + loopback(c.ports["router-"+strconv.Itoa(n)])
}
