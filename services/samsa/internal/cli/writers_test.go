package cli

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
)

// writers is a cluster of two writers, one of which gives a shard away each time that
// it is looked at.
type writers struct {
	clusterv1.UnimplementedAdminServiceServer
	mu      sync.Mutex
	drained bool
	shards  uint32
	stuck   bool
}

func (w *writers) ListWriters(context.Context, *clusterv1.ListWritersRequest) (*clusterv1.ListWritersResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drained && w.shards > 0 && !w.stuck {
		w.shards--
	}
	since := timestamppb.New(time.Unix(0, 0))
	return &clusterv1.ListWritersResponse{Writers: []*clusterv1.Writer{
		{Instance: "a", Zone: "z1", Address: "h:1", Incarnation: []byte{10}, Since: since, Drained: w.drained, Shards: w.shards},
		{Instance: "b", Address: "h:2", Since: since, Error: "it is away"},
	}}, nil
}

func (w *writers) ListShards(context.Context, *clusterv1.ListShardsRequest) (*clusterv1.ListShardsResponse, error) {
	return &clusterv1.ListShardsResponse{Unanswered: []string{"b"}, Shards: []*clusterv1.ShardOwner{
		{Owner: &clusterv1.Owner{Epoch: 4, Incarnation: []byte{10}, Instance: "a", Address: "h:1"}, FirstSlot: 7}, {Shard: 1},
	}}, nil
}

func (w *writers) DrainWriter(_ context.Context, r *clusterv1.DrainWriterRequest) (*clusterv1.DrainWriterResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drained = !r.GetUndo()
	return &clusterv1.DrainWriterResponse{}, nil
}

// start serves them and gives a way to run `samsa admin`.
func (w *writers) start(t *testing.T) func(args ...string) (int, string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	clusterv1.RegisterAdminServiceServer(server, w)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-served })
	return func(args ...string) (int, string) {
		var out bytes.Buffer
		code := Run(t.Context(), IO{In: &bytes.Buffer{}, Out: &out, Err: &out},
			append([]string{"admin", "--address", "http://" + listener.Addr().String()}, args...))
		return code, out.String()
	}
}

func TestAdmin_ListsWritersAndShards(t *testing.T) {
	run := (&writers{shards: 3}).start(t)
	_, out := run("writers")
	require.Equal(t, strings.Join([]string{
		"INSTANCE  ZONE  ADDRESS  SHARDS  STATE            LOG  SINCE",
		"a         z1    h:1      3       active           0a   1970-01-01T00:00:00Z",
		"b         -     h:2      -       does not answer  -    1970-01-01T00:00:00Z", "",
	}, "\n"), out)
	_, out = run("writers", "--format", "json")
	require.Equal(t, strings.Join([]string{
		`{"instance":"a","zone":"z1","address":"h:1","shards":3,"drained":false,"incarnation":"0a","since":"1970-01-01T00:00:00Z"}`,
		`{"instance":"b","address":"h:2","drained":false,"since":"1970-01-01T00:00:00Z","problem":"it is away"}`, "",
	}, "\n"), out)
	_, out = run("shards")
	require.Equal(t, strings.Join([]string{
		"SHARD  OWNER  ADDRESS  LOG  EPOCH  FIRST SLOT  STATE",
		"0      a      h:1      0a   4      7           owned",
		"1      -      -        -    -      -           unknown: b did not answer", "",
	}, "\n"), out)
	_, out = run("shards", "--format", "json")
	require.Equal(t, strings.Join([]string{
		`{"shard":0,"owner":"a","address":"h:1","incarnation":"0a","epoch":4,"first_slot":7,"state":"owned"}`,
		`{"shard":1,"state":"unknown: b did not answer"}`, "",
	}, "\n"), out)
}

func TestAdminDrain_WaitsUntilTheWriterOwnsNothing(t *testing.T) {
	w := &writers{shards: 2}
	run := w.start(t)
	code, out := run("drain", "a")
	require.Zero(t, code, out)
	require.Equal(t, "Writer a is drained: it owns no shards\n", out)
	require.Zero(t, w.shards)
	code, out = run("drain", "a", "--undo")
	require.Zero(t, code, out)
	require.Equal(t, "Writer a takes shards again\n", out)
	require.False(t, w.drained)
}

func TestAdminDrain_SaysHowManyAreLeftWhenItsTimeIsOver(t *testing.T) {
	run := (&writers{shards: 2, stuck: true}).start(t)
	code, out := run("drain", "a", "--timeout", "300ms")
	require.Equal(t, 1, code)
	require.Contains(t, out, "writer a has 2 shards left; it goes on giving them away")
	code, _ = run("drain", "a", "--timeout", "-1s")
	require.Equal(t, 2, code)
}
