package discovery

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func instances(members []Member) []string {
	var names []string
	for _, m := range members {
		names = append(names, m.Instance)
	}
	return names
}

func named(names ...string) []record {
	var records []record
	for _, n := range names {
		records = append(records, record{Member: Member{Role: "r", Instance: n, Address: n + ":1"}})
	}
	return records
}

func TestView_DropsAtOnceWhatEtcdDropped(t *testing.T) {
	v, now := newView(), time.Unix(100, 0)
	v.reload(named("a", "b"), now, now)
	v.drop("a", now)
	require.Equal(t, []string{"b"}, instances(v.list()))
}

func TestView_HoldsAfterAnOutage(t *testing.T) {
	v, now := newView(), time.Unix(100, 0)
	v.reload(named("a", "b", "c"), now, now)

	hold := now.Add(8 * time.Second)
	v.reload(named("b"), now, hold)
	require.Equal(t, []string{"a", "b", "c"}, instances(v.list()), "an empty etcd says nothing about the living")
	v.drop("b", now.Add(time.Second))
	v.put(named("a")[0])
	v.expire(hold.Add(-time.Nanosecond))
	require.Equal(t, []string{"a", "b", "c"}, instances(v.list()))

	until, held := v.holds()
	require.True(t, held)
	require.Equal(t, hold, until)
	v.expire(hold)
	require.Equal(t, []string{"a"}, instances(v.list()), "only who came back")
	_, held = v.holds()
	require.False(t, held)
}

func TestView_DropsALeavingMemberEvenWhileItHolds(t *testing.T) {
	v, now := newView(), time.Unix(100, 0)
	v.reload(named("a", "b"), now, now.Add(time.Hour))
	leaving := named("a")[0]
	leaving.Leaving = true
	v.put(leaving)
	v.drop("a", now)
	require.Equal(t, []string{"b"}, instances(v.list()))
}
