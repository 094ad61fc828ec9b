package admin

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// double is a stream-writer.
type double struct {
	clusterv1.UnimplementedWriterServiceServer
	says   *clusterv1.DescribeResponse // nil: it does not answer
	drains []bool                      // what it was told: whether to undo
}

func (d *double) Describe(context.Context, *clusterv1.DescribeRequest) (*clusterv1.DescribeResponse, error) {
	if d.says == nil {
		return nil, status.Error(codes.Unavailable, "not now")
	}
	return d.says, nil
}

func (d *double) Drain(_ context.Context, r *clusterv1.DrainRequest) (*clusterv1.DrainResponse, error) {
	d.drains = append(d.drains, r.GetUndo())
	return &clusterv1.DrainResponse{}, nil
}

// rig is the writers by address, and who is registered.
type rig struct {
	conns   map[string]*grpc.ClientConn
	members []discovery.Member
}

func (r *rig) Conn(address string) (*grpc.ClientConn, error) { return r.conns[address], nil }

func (r *rig) Watch(role string) *discovery.Members { return discovery.Fixed(role, r.members...) }

// add registers a writer.
func (r *rig) add(t *testing.T, instance string, drained bool, says *clusterv1.DescribeResponse) *double {
	d := &double{says: says}
	listener, server := bufconn.Listen(1<<10), grpc.NewServer()
	clusterv1.RegisterWriterServiceServer(server, d)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:"+instance, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(); server.Stop(); <-served })
	r.conns[instance+":1"] = conn
	r.members = append(r.members, discovery.Member{
		Role: discovery.RoleStreamWriter, Instance: instance, Address: instance + ":1", Zone: "z", Incarnation: "0a", Started: time.Unix(7, 0), Drained: drained,
	})
	return d
}

func owns(epoch uint64, shards ...uint32) *clusterv1.DescribeResponse {
	r := &clusterv1.DescribeResponse{Incarnation: []byte{byte(epoch)}}
	for _, id := range shards {
		r.Shards = append(r.Shards, &clusterv1.OwnedShard{Shard: id, Epoch: epoch, Incarnation: r.Incarnation, FirstSlot: 10 * epoch})
	}
	return r
}

func newRig() *rig { return &rig{conns: map[string]*grpc.ClientConn{}} }

func TestShards_NamesTheOwnerOfTheLatestEpoch(t *testing.T) {
	r := newRig()
	r.add(t, "sealed", false, owns(1, 0, 1))
	r.add(t, "owner", false, owns(2, 1))
	r.add(t, "silent", false, nil)
	r.add(t, "sealed-too", false, owns(1, 1, 9)) // 9: there is no such shard
	got, err := New(r, r, 3).ListShards(t.Context(), &clusterv1.ListShardsRequest{})
	require.NoError(t, err)
	require.Equal(t, []string{"silent"}, got.GetUnanswered())
	require.Len(t, got.GetShards(), 3)
	require.Equal(t, "sealed", got.GetShards()[0].GetOwner().GetInstance())
	require.Equal(t, "owner", got.GetShards()[1].GetOwner().GetInstance())
	require.Equal(t, uint64(20), got.GetShards()[1].GetFirstSlot())
	require.Nil(t, got.GetShards()[2].GetOwner())
}

func TestWriters_TellsOfThoseThatDoNotAnswer(t *testing.T) {
	r := newRig()
	r.add(t, "b", true, nil)
	r.add(t, "a", false, owns(3, 0, 1))
	got, err := New(r, r, 3).ListWriters(t.Context(), &clusterv1.ListWritersRequest{})
	require.NoError(t, err)
	a, b := got.GetWriters()[0], got.GetWriters()[1]
	require.Equal(t, "a", a.GetInstance())
	require.Equal(t, uint32(2), a.GetShards())
	require.Equal(t, []byte{3}, a.GetIncarnation())
	require.Equal(t, int64(7), a.GetSince().GetSeconds())
	require.Empty(t, a.GetError())
	require.Contains(t, b.GetError(), "not now")
	require.True(t, b.GetDrained(), "as it registered")
	require.Equal(t, []byte{10}, b.GetIncarnation())
}

func TestDrain_RefusesWhatNobodyCanCarryOut(t *testing.T) {
	r := newRig()
	a := r.add(t, "a", false, owns(1, 0))
	r.add(t, "b", true, owns(1))
	admin := New(r, r, 3)
	_, err := admin.DrainWriter(t.Context(), &clusterv1.DrainWriterRequest{Instance: "c"})
	require.ErrorContains(t, err, `no stream-writer "c" is registered; there are: a, b`)
	_, err = admin.DrainWriter(t.Context(), &clusterv1.DrainWriterRequest{Instance: "a"})
	require.ErrorContains(t, err, "no other stream-writer would take the shards of a")
	require.Empty(t, a.drains)
	_, err = admin.DrainWriter(t.Context(), &clusterv1.DrainWriterRequest{Instance: "a", Undo: true})
	require.NoError(t, err)
	r.members[1].Drained = false
	_, err = admin.DrainWriter(t.Context(), &clusterv1.DrainWriterRequest{Instance: "a"})
	require.NoError(t, err)
	require.Equal(t, []bool{true, false}, a.drains)
}
