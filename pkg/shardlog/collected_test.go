package shardlog

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// A chain entry lands when its owner's log was sealed and collected long ago, though
// there was other shards' data in it behind the first slot that the entry names.
// Nothing of the shard can be in it, and whoever takes the shard finds it empty.
func TestTake_FromAnOwnerWhoseEntryLandsAfterItsLogWasCollected(t *testing.T) {
	late := stream.Incarnation{2}
	for slots := range stream.Slot(12) {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			store := map[string][]byte{}
			first := newScript(t, 1, store)
			first.own()
			first.append("a", "s", nil)
			entry := segment.ChainKey(0, 1)
			owner := newScript(t, 2, store)
			owner.hold = func(a Action) bool { put, ok := a.(Put); return ok && put.Key == entry }
			owner.step(Take{Tag: "take"})
			require.Len(t, owner.held, 1)
			for slot := range stream.Slot(4) { // what a sealer has put behind the slots
				h := segment.Header{Log: late, Slot: slots + slot, Window: 2}
				store[segment.SlotKey(late, h.Slot)] = segment.EncodeSeal(h, stream.Incarnation{3})
			}
			store[segment.GoneKey(late)] = segment.EncodeEnvelope(segment.KindGone, nil)
			store[entry] = owner.held[0].(Put).Body()

			next := newScript(t, 4, store)
			next.own()
			next.append("b", "s", nil)
			require.EqualValues(t, 1, next.acked("b").First)
		})
	}
}
