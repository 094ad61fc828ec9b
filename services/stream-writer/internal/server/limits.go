package server

import (
	"context"
	"time"

	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/shardlog"
)

// sessionPatience is how long the next batch of a session may wait for the stream's
// rate.
const sessionPatience = 30 * time.Second

// costOf is what a batch takes of its stream's rates.
func costOf(a *shardlog.Append) limit.Cost {
	return limit.Cost{Requests: 1, Records: int(a.Count), Bytes: len(a.Payload)}
}

// allow refuses a batch that is more than its stream may take in a second.
func (s *Streams) allow(a *shardlog.Append) error {
	return toStatus(s.rates.Take(a.Name.String(), costOf(a)))
}

// await slows a session down to what its stream may take.
func (s *Streams) await(ctx context.Context, a *shardlog.Append) error {
	return toStatus(s.rates.Wait(ctx, a.Name.String(), costOf(a), sessionPatience))
}
