package ownership

import (
	"slices"

	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/stream"
)

// view is which writers there are, as Run last saw them, and what follows for this
// one. While writers come and go, others are likely to see it otherwise.
type view struct {
	writers []discovery.Member // what ranking depends on of each
	ranks   []rank             // by shard
	takers  bool               // there is a writer that is not drained
}

// rank says how this writer ranks for a shard.
type rank struct {
	first   bool
	outdone bool // by a drained writer, which is likely to have the shard yet
}

// look takes note of the writers that live, and tells whether they have changed.
func (v *view) look(self string, shards uint32, live []discovery.Member) (changed bool) {
	writers := make([]discovery.Member, len(live))
	for i, d := range live {
		writers[i] = discovery.Member{Instance: d.Instance, Drained: d.Drained}
	}
	if slices.Equal(writers, v.writers) {
		return false
	}
	v.writers, v.ranks = writers, make([]rank, shards)
	v.takers = slices.ContainsFunc(writers, func(d discovery.Member) bool { return !d.Drained })
	undrained := slices.Clone(writers)
	for i := range undrained {
		undrained[i].Drained = false
	}
	for id := range v.ranks {
		v.ranks[id].first = discovery.Rank(stream.Shard(id), writers)[0].Instance == self
		v.ranks[id].outdone = discovery.Rank(stream.Shard(id), undrained)[0].Instance != self
	}
	return true
}
