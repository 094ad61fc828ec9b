package discovery

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/samsa-io/samsa/pkg/stream"
)

// Rank orders members by how much they should have the shard, best first. It is
// a rendezvous hash of the instance name: everybody who sees the same members
// ranks them alike, and when one leaves only its own shards move. Those that are
// drained come last.
func Rank(shard stream.Shard, members []Member) []Member {
	type scored struct {
		score  uint64
		member Member
	}
	all := make([]scored, len(members))
	for i, m := range members {
		all[i] = scored{score(shard, m.Instance), m}
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(last(a.member.Drained)-last(b.member.Drained), cmp.Compare(b.score, a.score), cmp.Compare(a.member.Instance, b.member.Instance))
	})
	ranked := make([]Member, len(all))
	for i, s := range all {
		ranked[i] = s.member
	}
	return ranked
}

func last(drained bool) int {
	if drained {
		return 1
	}
	return 0
}

func score(shard stream.Shard, instance string) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(instance)
	_, _ = d.Write(binary.LittleEndian.AppendUint32([]byte{0}, uint32(shard)))
	return d.Sum64()
}
