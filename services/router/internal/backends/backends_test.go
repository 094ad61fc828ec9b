package backends

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/shardroute"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/router/internal/proxy"
)

type fixed map[string][]discovery.Member

func (f fixed) Watch(role string) *discovery.Members { return discovery.Fixed(role, f[role]...) }

func members(role string, n int) []discovery.Member {
	var all []discovery.Member
	for i := range n {
		name := fmt.Sprintf("%s-%d", role, i)
		all = append(all, discovery.Member{Role: role, Instance: name, Address: rpc.InprocPrefix + name})
	}
	return all
}

func newBackends(t *testing.T, m fixed) *Backends {
	dialer := rpc.NewDialer(rpc.DialerConfig{Inproc: rpc.NewInproc()})
	t.Cleanup(func() { require.NoError(t, dialer.Close()) })
	return New(m, dialer, &owners{}, 64, zaptest.NewLogger(t))
}

func instances(backends []proxy.Backend) []string {
	var names []string
	for _, b := range backends {
		names = append(names, b.Instance)
	}
	return names
}

func TestAny_TakesTurns(t *testing.T) {
	b := newBackends(t, fixed{"account": members("account", 3)})
	first := map[string]int{}
	for range 9 {
		all := instances(b.Any("account"))
		require.ElementsMatch(t, []string{"account-0", "account-1", "account-2"}, all)
		first[all[0]]++
	}
	require.Equal(t, map[string]int{"account-0": 3, "account-1": 3, "account-2": 3}, first)
	require.Empty(t, b.Any("bucket"))
}

func TestReaders_StayWithTheirStreams(t *testing.T) {
	four := newBackends(t, fixed{"stream-reader": members("stream-reader", 4)})
	three := newBackends(t, fixed{"stream-reader": members("stream-reader", 3)})
	first := map[string]int{}
	for i := range 1000 {
		name := stream.Name{Bucket: "logs", Stream: fmt.Sprint(i)}
		before := instances(four.Readers(name))
		require.Equal(t, before, instances(four.Readers(name)))
		first[before[0]]++
		if before[0] != "stream-reader-3" { // who leaves moves only its own
			require.Equal(t, before[0], instances(three.Readers(name))[0])
		}
	}
	for _, n := range first {
		require.InDelta(t, 250, n, 75)
	}
}

// owners answers with one connection, whatever the shard.
type owners struct {
	conn                 grpc.ClientConnInterface
	asked                []stream.Shard
	reported, lookedInto string
}

type calling = func(context.Context, grpc.ClientConnInterface) error

func (o *owners) Do(ctx context.Context, shard stream.Shard, f calling) error {
	o.asked = append(o.asked, shard)
	return f(ctx, o.conn)
}

func (o *owners) Ask(ctx context.Context, shard stream.Shard, f calling) error {
	return o.Do(ctx, shard, f)
}

func (o *owners) Report(_ stream.Shard, instance string) { o.reported = instance }

func (o *owners) Replaced(_ context.Context, _ stream.Shard, instance string) bool {
	o.lookedInto = instance
	return true
}

func TestOwner_IsTheShardsAndHasItsName(t *testing.T) {
	b := newBackends(t, fixed{"stream-writer": members("stream-writer", 2)})
	conn, err := b.dialer.Conn("inproc:stream-writer-1")
	require.NoError(t, err)
	o := &owners{conn: conn}
	b.owners = o
	name := stream.Name{Bucket: "logs", Stream: "a"}
	var seen proxy.Backend
	try := func(_ context.Context, backend proxy.Backend) error {
		seen = backend
		return nil
	}
	require.NoError(t, b.Owner(t.Context(), name, try))
	require.NoError(t, b.AskOwner(t.Context(), name, try))
	require.Equal(t, []stream.Shard{name.Shard(64), name.Shard(64)}, o.asked)
	require.Equal(t, "stream-writer-1", seen.Instance)

	b.Lost(name, seen)
	require.Equal(t, "stream-writer-1", o.reported)
	require.True(t, b.Replaced(t.Context(), name, seen))
	require.Equal(t, "stream-writer-1", o.lookedInto)
}

var _ Owners = (*shardroute.Router)(nil)

var _ proxy.Backends = (*Backends)(nil)
