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
	return New(m, dialer, shardZero{}, 64, zaptest.NewLogger(t))
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

type shardZero struct{}

func (shardZero) Do(ctx context.Context, shard stream.Shard, f func(context.Context, grpc.ClientConnInterface) error) error {
	if shard != (stream.Name{Bucket: "logs", Stream: "a"}).Shard(64) {
		return fmt.Errorf("wrong shard %d", shard)
	}
	return f(ctx, nil)
}

func TestOwner_AsksForTheStreamsShard(t *testing.T) {
	b := newBackends(t, nil)
	called := false
	require.NoError(t, b.Owner(t.Context(), stream.Name{Bucket: "logs", Stream: "a"}, func(context.Context, proxy.Backend) error {
		called = true
		return nil
	}))
	require.True(t, called)
}
