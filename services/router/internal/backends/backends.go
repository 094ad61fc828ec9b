package backends

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
)

// Membership says who has a role; *discovery.Registry is one.
type Membership interface {
	Watch(role string) *discovery.Members
}

// Owners calls the owner of a shard; *shardroute.Router is one.
type Owners interface {
	Do(context.Context, stream.Shard, func(context.Context, grpc.ClientConnInterface) error) error
	Ask(context.Context, stream.Shard, func(context.Context, grpc.ClientConnInterface) error) error
	Report(shard stream.Shard, instance string)
	Replaced(ctx context.Context, shard stream.Shard, instance string) bool
}

// Dialer connects to addresses; *rpc.Dialer is one.
type Dialer interface {
	Conn(address string) (*grpc.ClientConn, error)
}

// Backends implements proxy.Backends.
type Backends struct {
	members Membership
	dialer  Dialer
	owners  Owners
	shards  uint32
	log     *zap.Logger
	turn    atomic.Uint64
}

// New makes backends for a cluster of so many shards.
func New(members Membership, dialer Dialer, owners Owners, shards uint32, log *zap.Logger) *Backends {
	return &Backends{members: members, dialer: dialer, owners: owners, shards: shards, log: log}
}

// Any implements proxy.Backends: all members, another one first each time.
func (b *Backends) Any(role string) []proxy.Backend {
	members := b.members.Watch(role).Snapshot()
	if len(members) == 0 {
		return nil
	}
	first := int(b.turn.Add(1) % uint64(len(members)))
	return b.connect(append(slices.Clone(members[first:]), members[:first]...))
}

// Readers implements proxy.Backends: a stream has the same reader first as long
// as that lives, so that its caches count.
func (b *Backends) Readers(name stream.Name) []proxy.Backend {
	return b.connect(rank(name, b.members.Watch(discovery.RoleStreamReader).Snapshot()))
}

// rank orders members by a rendezvous hash of the stream's name and theirs: when
// one comes or goes only its own streams move.
func rank(name stream.Name, members []discovery.Member) []discovery.Member {
	ranked := slices.Clone(members)
	slices.SortFunc(ranked, func(a, b discovery.Member) int {
		return cmp.Or(cmp.Compare(score(name, b.Instance), score(name, a.Instance)), cmp.Compare(a.Instance, b.Instance))
	})
	return ranked
}

func score(name stream.Name, instance string) uint64 {
	var d xxhash.Digest
	d.Reset()
	for _, part := range []string{instance, name.Bucket, name.Stream} {
		_, _ = d.WriteString(part)
		_, _ = d.Write([]byte{0}) // no part has one, so they can't run together
	}
	return d.Sum64()
}

func (b *Backends) connect(members []discovery.Member) []proxy.Backend {
	backends := make([]proxy.Backend, 0, len(members))
	for _, member := range members {
		conn, err := b.dialer.Conn(member.Address)
		if err != nil {
			b.log.Warn("can't dial a member", zap.String("role", member.Role), zap.String("instance", member.Instance), zap.Error(err))
			continue
		}
		backends = append(backends, proxy.Backend{Instance: member.Instance, Conn: conn})
	}
	return backends
}

// Owner implements proxy.Backends.
func (b *Backends) Owner(ctx context.Context, name stream.Name, try proxy.Try) error {
	return b.owners.Do(ctx, name.Shard(b.shards), b.with(name, try))
}

// AskOwner implements proxy.Backends.
func (b *Backends) AskOwner(ctx context.Context, name stream.Name, try proxy.Try) error {
	return b.owners.Ask(ctx, name.Shard(b.shards), b.with(name, try))
}

// Replaced implements proxy.Backends. That an owner is slow is no news; its metrics
// tell that.
func (b *Backends) Replaced(ctx context.Context, name stream.Name, backend proxy.Backend) bool {
	shard := name.Shard(b.shards)
	replaced := b.owners.Replaced(ctx, shard, backend.Instance)
	level := zap.DebugLevel
	if replaced {
		level = zap.InfoLevel
	}
	b.log.Log(level, "a shard's owner was slow to answer", zap.Uint32("shard", uint32(shard)),
		zap.String("instance", backend.Instance), zap.Bool("replaced", replaced))
	return replaced
}

// Lost implements proxy.Backends.
func (b *Backends) Lost(name stream.Name, backend proxy.Backend) {
	b.owners.Report(name.Shard(b.shards), backend.Instance)
}

func (b *Backends) with(name stream.Name, try proxy.Try) func(context.Context, grpc.ClientConnInterface) error {
	return func(ctx context.Context, conn grpc.ClientConnInterface) error {
		return try(ctx, proxy.Backend{Instance: b.writerAt(conn), Conn: conn, Shard: name.Shard(b.shards)})
	}
}

// writerAt names the stream-writer that a connection leads to, by its address if
// it has left.
func (b *Backends) writerAt(conn grpc.ClientConnInterface) string {
	dialed, ok := conn.(interface{ Target() string })
	if !ok {
		return discovery.RoleStreamWriter
	}
	_, address, _ := strings.Cut(dialed.Target(), ":///")
	for _, member := range b.members.Watch(discovery.RoleStreamWriter).Snapshot() {
		if member.Address == address {
			return member.Instance
		}
	}
	return address
}
