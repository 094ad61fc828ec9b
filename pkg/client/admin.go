package client

import (
	"context"
	"encoding/hex"
	"time"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
)

// What operators ask of a cluster: it needs the root token.

// Writer is a stream-writer of the cluster.
type Writer struct {
	Instance    string
	Zone        string
	Address     string
	Incarnation string    // its log
	Since       time.Time // when it started
	Drained     bool
	Shards      int // how many it owns
	// Problem is why it could not be asked; then Drained and Incarnation are as it
	// registered, and Shards is 0.
	Problem string
}

// ShardOwner tells who owns a shard.
type ShardOwner struct {
	Shard       uint32
	Instance    string // "": no writer says that it owns the shard
	Address     string
	Incarnation string // the owner's log
	Epoch       uint64
	FirstSlot   uint64 // where the owner's part begins in its log
}

// Writers lists the stream-writers that are registered, by name.
func (c *Client) Writers(ctx context.Context) ([]Writer, error) {
	resp, err := call(ctx, c.retry, readOnly, true, c.admin().ListWriters, &clusterv1.ListWritersRequest{})
	return mapped(resp.GetWriters(), func(w *clusterv1.Writer) Writer {
		return Writer{
			Instance: w.GetInstance(), Zone: w.GetZone(), Address: w.GetAddress(), Incarnation: hex.EncodeToString(w.GetIncarnation()),
			Since: w.GetSince().AsTime(), Drained: w.GetDrained(), Shards: int(w.GetShards()), Problem: w.GetError(),
		}
	}), err
}

// Shards lists all shards in order, and the writers that did not answer: shards
// without an owner may be theirs.
func (c *Client) Shards(ctx context.Context) (shards []ShardOwner, unanswered []string, err error) {
	resp, err := call(ctx, c.retry, readOnly, true, c.admin().ListShards, &clusterv1.ListShardsRequest{})
	return mapped(resp.GetShards(), func(s *clusterv1.ShardOwner) ShardOwner {
		o := s.GetOwner()
		return ShardOwner{
			Shard: s.GetShard(), Instance: o.GetInstance(), Address: o.GetAddress(),
			Incarnation: hex.EncodeToString(o.GetIncarnation()), Epoch: o.GetEpoch(), FirstSlot: s.GetFirstSlot(),
		}
	}), resp.GetUnanswered(), err
}

// DrainWriter has a writer give its shards to the others and take none, or undoes
// that. It returns at once; Writers tells how many shards are left.
// ErrPreconditionFailed: there is no other writer to take them.
func (c *Client) DrainWriter(ctx context.Context, instance string, undo bool) error {
	_, err := call(ctx, c.retry, changes, true, c.admin().DrainWriter, &clusterv1.DrainWriterRequest{Instance: instance, Undo: undo})
	return err
}
