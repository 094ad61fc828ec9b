package owner

import (
	"fmt"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/live"
)

func block(b *clusterv1.Block) (live.LocatedBlock, error) {
	log, err := stream.IncarnationFromBytes(b.GetIncarnation())
	if err != nil {
		return live.LocatedBlock{}, fmt.Errorf("log of a block: %w", err)
	}
	return live.LocatedBlock{
		Block: logindex.Block{Log: log, Slot: stream.Slot(b.GetSlot()), BlockRef: Ref(b)},
		Data:  b.GetData(),
	}, nil
}

// Ref reads where a block stands in its object.
func Ref(b *clusterv1.Block) segment.BlockRef {
	return segment.BlockRef{
		Offset:         b.GetOffset(),
		Stored:         b.GetStoredBytes(),
		Raw:            b.GetRawBytes(),
		Codec:          segment.Codec(b.GetCodec()),
		Checksum:       b.GetChecksum(),
		First:          stream.SeqNum(b.GetFirstSeqNum()),
		Count:          b.GetCount(),
		FirstTimestamp: b.GetFirstTimestamp(),
		LastTimestamp:  b.GetLastTimestamp(),
	}
}
