// Package owner asks the owners of shards where streams stand.
//
// It is not internal: the simulation of the whole system (tests/sim) drives it.
package owner

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/live"
)

// Router reaches the owner of a shard; *shardroute.Router does.
type Router interface {
	// Ask calls f with a connection to the owner, and again, maybe with another
	// one, if that brings no answer in time, until ctx ends.
	Ask(ctx context.Context, shard stream.Shard, f func(ctx context.Context, conn grpc.ClientConnInterface) error) error
}

// Config says how long to wait for an owner.
type Config struct {
	Shards uint32
	Wait   time.Duration // for an answer
}

// Client asks owners; it implements live.Owner.
type Client struct {
	config Config
	router Router
}

// New makes a Client.
func New(config Config, router Router) *Client { return &Client{config: config, router: router} }

// Locate implements live.Owner. Asking changes nothing, so it is asked again
// whatever happened on the way.
func (c *Client) Locate(ctx context.Context, q live.Query) (live.Located, error) {
	deadline, cancel := context.WithTimeout(ctx, c.config.Wait)
	defer cancel()
	in := request(q)
	for backoff := 10 * time.Millisecond; ; backoff = min(2*backoff, 500*time.Millisecond) {
		out, err := c.attempt(deadline, q.Name.Shard(c.config.Shards), in)
		switch {
		case err == nil:
			return located(out)
		case ctx.Err() != nil:
			return live.Located{}, ctx.Err()
		case !transient(err):
			return live.Located{}, lasting(err)
		}
		select {
		case <-deadline.Done():
			return live.Located{}, unavailable(ctx, q, err)
		case <-time.After(backoff):
		}
	}
}

func (c *Client) attempt(ctx context.Context, shard stream.Shard, in *clusterv1.LocateRequest) (out *clusterv1.LocateResponse, err error) {
	err = c.router.Ask(ctx, shard, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		var err error
		out, err = clusterv1.NewWriterServiceClient(conn).Locate(ctx, in)
		return err
	})
	return out, err
}

// transient tells whether asking again may help: no owner could be reached, or
// it did not answer in time.
func transient(err error) bool {
	if detail := rpc.Detail(err); detail != nil {
		return detail.GetCode() == samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted:
		return true
	}
	return false
}

// lasting marks answers that will not change by themselves: the stream is not there,
// or the owner found the store damaged.
func lasting(err error) error {
	switch status.Code(err) {
	case codes.NotFound, codes.FailedPrecondition:
		return &live.GoneError{Err: err}
	case codes.DataLoss:
		return &live.RefusedError{Err: err}
	}
	return err
}

func unavailable(ctx context.Context, q live.Query, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE,
		"the owner of stream %s does not answer; try again", q.Name).Because(err)
}

func request(q live.Query) *clusterv1.LocateRequest {
	in := &clusterv1.LocateRequest{
		Bucket: q.Name.Bucket, Stream: q.Name.Stream,
		MaxBytes: q.MaxBytes, ProveTail: q.Prove, ForRead: q.ForRead, PlacesOnly: q.PlacesOnly,
	}
	switch q.Start.Kind {
	case live.AtSeqNum:
		in.Start = &clusterv1.LocateRequest_SeqNum{SeqNum: q.Start.Value}
	case live.AtTimestamp:
		in.Start = &clusterv1.LocateRequest_Timestamp{Timestamp: q.Start.Value}
	case live.AtTailOffset:
		in.Start = &clusterv1.LocateRequest_TailOffset{TailOffset: q.Start.Value}
	case live.AtSeqID:
		in.Start = &clusterv1.LocateRequest_SeqId{SeqId: q.Start.SeqID.String()}
	}
	return in
}

func located(in *clusterv1.LocateResponse) (live.Located, error) {
	id, err := stream.IDFromBytes(in.GetStreamId())
	if err != nil {
		return live.Located{}, fmt.Errorf("the owner's answer: stream: %w", err)
	}
	log, err := stream.IncarnationFromBytes(in.GetIncarnation())
	if err != nil {
		return live.Located{}, fmt.Errorf("the owner's answer: log: %w", err)
	}
	out := live.Located{
		Stream: id, Epoch: stream.Epoch(in.GetEpoch()), Log: log, Trim: stream.SeqNum(in.GetTrimSeqNum()),
		Tail: live.Tail{
			Next:          stream.SeqNum(in.GetNextSeqNum()),
			LastTimestamp: in.GetLastTimestamp(),
			LastIDMillis:  in.GetLastIdMillis(),
		},
		Start: stream.SeqNum(in.GetStartSeqNum()), StartUnknown: in.StartSeqNum == nil,
		Index: stream.SeqNum(in.GetIndexSeqNum()),
	}
	for _, b := range in.GetBlocks() {
		at, err := block(b)
		if err != nil {
			return live.Located{}, fmt.Errorf("the owner's answer: %w", err)
		}
		out.Blocks = append(out.Blocks, at)
	}
	return out, nil
}
