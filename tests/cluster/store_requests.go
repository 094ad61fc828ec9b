package cluster

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// StorePermission is what a request to an S3 server takes: an action, and the first
// part of the key or, to list, of the prefix.
type StorePermission struct{ Action, Prefix string }

// StorePermissions are those that a process has needed so far.
func (c *Cluster) StorePermissions(t testing.TB, process string) []StorePermission {
	t.Helper()
	host := c.Link(t, process, ObjStore).Address
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	return slices.Collect(maps.Keys(c.store.needed[host]))
}

// note keeps what a request needs.
func (p *storeProxy) note(r *http.Request) {
	needs := permissionOf(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.needed[r.Host] == nil {
		p.needed[r.Host] = map[StorePermission]bool{}
	}
	p.needed[r.Host][needs] = true
}

// permissionOf goes by path-style requests: /bucket/key.
func permissionOf(r *http.Request) StorePermission {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	action := map[string]string{
		http.MethodGet: "GetObject", http.MethodHead: "GetObject",
		http.MethodPut: "PutObject", http.MethodDelete: "DeleteObject",
	}[r.Method]
	if q := r.URL.Query(); q.Has("list-type") {
		action, key = "ListBucket", q.Get("prefix")
	}
	if folder, _, found := strings.Cut(key, "/"); found {
		key = folder + "/"
	}
	return StorePermission{action, key}
}
