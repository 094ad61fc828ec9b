package discovery

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/samsa-io/samsa/pkg/stream"
)

func drawMembers(t *rapid.T, least int) []Member {
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9-]{1,12}`), least, 12, rapid.ID[string]).Draw(t, "instances")
	var members []Member
	for _, n := range names {
		members = append(members, Member{Instance: n})
	}
	return members
}

func TestRank_IsTheSameInWhateverOrderMembersCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t, 1)
		shard := stream.Shard(rapid.Uint32().Draw(t, "shard"))
		ranked := Rank(shard, members)
		require.ElementsMatch(t, members, ranked)
		require.Equal(t, ranked, Rank(shard, rapid.Permutation(members).Draw(t, "order")))
	})
}

func TestRank_MovesOnlyTheShardsOfWhoLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t, 2)
		leaver := rapid.IntRange(0, len(members)-1).Draw(t, "leaver")
		rest := slices.Delete(slices.Clone(members), leaver, leaver+1)
		for shard := range stream.Shard(64) {
			before := Rank(shard, members)
			without := slices.DeleteFunc(before, func(m Member) bool { return m == members[leaver] })
			require.Equal(t, without, Rank(shard, rest), "the order of the others stays")
		}
	})
}

func TestRank_BalancesShards(t *testing.T) {
	const shards, writers = 64 * 64, 8
	var members []Member
	for i := range writers {
		members = append(members, Member{Instance: fmt.Sprintf("stream-writer-%d", i)})
	}
	first, second := map[string]int{}, map[string]int{}
	for shard := range stream.Shard(shards) {
		ranked := Rank(shard, members)
		first[ranked[0].Instance]++
		if ranked[0].Instance == "stream-writer-0" {
			second[ranked[1].Instance]++
		}
	}
	for _, m := range members {
		require.InEpsilon(t, shards/writers, first[m.Instance], 0.15, m.Instance)
	}
	for instance, n := range second {
		require.InEpsilon(t, shards/writers/(writers-1), n, 0.45, "what %s takes over of a dead one", instance)
	}
}

func TestRank_StaysAsItIs(t *testing.T) {
	members := []Member{{Instance: "a"}, {Instance: "b"}, {Instance: "c"}}
	require.Equal(t, []string{"a", "c", "b"}, instances(Rank(0, members)), "a new order would move every shard of every cluster")
	require.Equal(t, []string{"b", "c", "a"}, instances(Rank(7, members)))
}
