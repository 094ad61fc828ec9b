// Package locate answers where a stream stands and where its records are, from a
// view of the log and the records that are in memory.
//
// It is not internal: the simulation of the whole system (tests/sim) drives it.
package locate

import (
	"fmt"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/stream-writer/announce"
	"github.com/samsa-io/samsa/services/stream-writer/recent"
)

// Answer answers a Locate. v is taken after the request arrived, with a proof if it
// asks for one.
func Answer(v shardlog.View, r *clusterv1.LocateRequest, records *recent.Records) (*clusterv1.LocateResponse, error) {
	l := &location{view: v, response: standing(v)}
	if err := l.findStart(r, records.Index); err != nil {
		return nil, err
	}
	l.addBlocks(r, records)
	return l.response, nil
}

func standing(v shardlog.View) *clusterv1.LocateResponse {
	return &clusterv1.LocateResponse{
		StreamId: v.ID[:], Shard: uint32(v.Shard), Epoch: uint64(v.Epoch), Incarnation: v.Log[:],
		TrimSeqNum: uint64(v.Trim), NextSeqNum: uint64(v.Tail), LastTimestamp: v.LastTime, LastIdMillis: v.LastIDMillis,
		IndexSeqNum: uint64(v.Tail),
	}
}

// location is the answer to a Locate in the making.
type location struct {
	view     shardlog.View
	response *clusterv1.LocateResponse
}

// findStart turns the start asked for into a seq_num, as far as this writer can.
func (l *location) findStart(r *clusterv1.LocateRequest, index *logindex.Index) error {
	v := l.view
	// An index that ends below the tail is of an earlier time as owner: there is a
	// gap behind it that others have written.
	first, end, covered := index.Covered(v.ID)
	if covered && first < v.Tail && end >= v.Tail {
		l.response.IndexSeqNum = uint64(first)
	}
	start := v.Trim
	switch at := r.GetStart().(type) {
	case *clusterv1.LocateRequest_SeqNum:
		start = stream.SeqNum(at.SeqNum)
	case *clusterv1.LocateRequest_SeqId:
		id, err := stream.ParseSeqID(at.SeqId)
		if err == nil && id.Salt() != v.ID.Salt() {
			err = fmt.Errorf("seq_id %s is an id of another stream", id)
		}
		if err != nil {
			return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, "%v", err).In("seq_id")
		}
		start = id.SeqNum()
	case *clusterv1.LocateRequest_TailOffset:
		start = v.Tail - min(v.Tail, stream.SeqNum(at.TailOffset))
	case *clusterv1.LocateRequest_Timestamp:
		found, ok := l.atTime(at.Timestamp, index)
		if !ok {
			return nil
		}
		start = found
	}
	start = max(start, v.Trim)
	l.response.StartSeqNum = (*uint64)(&start)
	return nil
}

// atTime finds a seq_num at or before the first record with the timestamp, in the
// same block; false: it lies below what the index covers.
func (l *location) atTime(t uint64, index *logindex.Index) (stream.SeqNum, bool) {
	v := l.view
	if v.Tail == v.Trim || t > v.LastTime {
		return v.Tail, true
	}
	span, ok := index.LookupTimestamp(v.ID, t, 1)
	if !ok || span.Earlier && span.First > v.Trim || len(span.Blocks) == 0 {
		return 0, false
	}
	return span.Blocks[0].First, true
}

// mostBytes bounds the blocks of one answer, whose bytes may come along.
const mostBytes = 4 << 20

// addBlocks names the blocks from the start on, with the bytes that are in memory
// unless they are not asked for.
func (l *location) addBlocks(r *clusterv1.LocateRequest, recent *recent.Records) {
	maxBytes := r.GetMaxBytes()
	if maxBytes == 0 || l.response.StartSeqNum == nil || l.response.GetStartSeqNum() < l.response.GetIndexSeqNum() {
		return
	}
	span, _ := recent.Index.Lookup(l.view.ID, stream.SeqNum(l.response.GetStartSeqNum()), min(maxBytes, mostBytes))
	for _, b := range span.Blocks {
		if b.First >= l.view.Tail {
			return
		}
		m := announce.Block(b.BlockRef)
		m.Incarnation, m.Slot = b.Log[:], uint64(b.Slot)
		if !r.GetPlacesOnly() {
			m.Data, _ = recent.Stored(b)
		}
		l.response.Blocks = append(l.response.Blocks, m)
	}
}
