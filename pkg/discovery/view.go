package discovery

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// view is what is known of a role's members. It holds no clock: every change
// says when it happens.
type view struct {
	members map[string]Member    // by instance
	missing map[string]time.Time // members that etcd no longer lists, and since when
	// Until then a member that etcd does not list is kept: etcd was away, and the
	// member may not have had the time to come back.
	holdUntil time.Time
}

func newView() *view {
	return &view{members: map[string]Member{}, missing: map[string]time.Time{}}
}

// reload takes a complete list; members that it lacks are kept until hold ends.
func (v *view) reload(listed []record, now, hold time.Time) {
	v.holdUntil = hold
	absent := maps.Clone(v.members)
	for _, r := range listed {
		delete(absent, r.Instance)
		v.put(r)
	}
	for instance := range absent {
		v.drop(instance, now)
	}
}

func (v *view) put(r record) {
	delete(v.missing, r.Instance)
	if r.Leaving {
		delete(v.members, r.Instance)
		return
	}
	v.members[r.Instance] = r.Member
}

// drop takes note that etcd no longer lists an instance.
func (v *view) drop(instance string, now time.Time) {
	if _, known := v.members[instance]; !known {
		return
	}
	if now.Before(v.holdUntil) {
		v.missing[instance] = now
		return
	}
	delete(v.members, instance)
	delete(v.missing, instance)
}

// expire drops the members that did not come back while they were held.
func (v *view) expire(now time.Time) {
	if now.Before(v.holdUntil) {
		return
	}
	for instance := range v.missing {
		delete(v.members, instance)
	}
	clear(v.missing)
}

// holds tells until when expire has something to wait for.
func (v *view) holds() (time.Time, bool) { return v.holdUntil, len(v.missing) > 0 }

func (v *view) list() []Member {
	return slices.SortedFunc(maps.Values(v.members), func(a, b Member) int {
		return cmp.Compare(a.Instance, b.Instance)
	})
}
