package server_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/logindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/pkg/history"
	"github.com/samsa-io/samsa/services/stream-reader/internal/fake"
	"github.com/samsa-io/samsa/services/stream-reader/internal/server"
	"github.com/samsa-io/samsa/services/stream-reader/live"
	"github.com/samsa-io/samsa/services/stream-reader/read"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a reader behind gRPC, on a fake cluster.
type rig struct {
	cluster *fake.Cluster
	faults  *faulty.Store
	service *read.Service
	client  samsav1.StreamServiceClient
	conn    *grpc.ClientConn
}

func newRig(t testing.TB, address string) *rig { return newLimitedRig(t, address, server.Limits{}) }

func newLimitedRig(t testing.TB, address string, limits server.Limits) *rig {
	cluster := fake.New()
	r := &rig{cluster: cluster, faults: faulty.New(cluster.Store)}
	blocks := logindex.NewBlocks(r.faults, logindex.DefaultBlocksConfig(), nil)
	locator := history.New(nil, logindex.NewLocator(r.faults, logindex.DefaultLocatorConfig()), 1<<20)
	hub := live.NewHub(live.DefaultConfig(), cluster, blocks, cluster.Bus, zap.NewNop(), live.NewMetrics(nil))
	t.Cleanup(hub.Close)
	config := read.DefaultConfig()
	config.Shards = fake.Shards
	r.service = read.New(config, cluster, locator, blocks, hub, nil)

	inproc := rpc.NewInproc()
	listener, err := rpc.Listen(t.Context(), address, inproc)
	require.NoError(t, err)
	to := rpc.NewServer(rpc.ServerConfig{})
	server.New(r.service, limits).Register(to)
	served := make(chan error)
	go func() { served <- to.Serve(listener) }()
	t.Cleanup(func() {
		to.Stop()
		require.NoError(t, <-served)
	})
	dialer := rpc.NewDialer(rpc.DialerConfig{Inproc: inproc})
	t.Cleanup(func() { require.NoError(t, dialer.Close()) })
	if !strings.HasPrefix(address, rpc.InprocPrefix) {
		address = listener.Addr().String()
	}
	conn, err := dialer.Conn(address)
	require.NoError(t, err)
	r.client, r.conn = samsav1.NewStreamServiceClient(conn), conn
	return r
}

func body(n int) fake.Record {
	return fake.Record{Timestamp: uint64(n + 1), IDMillis: uint64(n + 1), Body: []byte{byte(n)}}
}

func (r *rig) create(n int) *fake.Stream {
	s := r.cluster.Create(fake.Name(n))
	r.cluster.Append(s, false, []fake.Record{body(0), body(1)}, []fake.Record{body(2)})
	return s
}

func readOf(s *fake.Stream) *samsav1.ReadRequest {
	return &samsav1.ReadRequest{Bucket: s.Name.Bucket, Stream: s.Name.Stream}
}

func sessionOf(s *fake.Stream) *samsav1.ReadSessionRequest {
	return &samsav1.ReadSessionRequest{Bucket: s.Name.Bucket, Stream: s.Name.Stream}
}

func requireError(t *testing.T, err error, code codes.Code, detail samsav1.ErrorCode) *samsav1.ErrorDetail {
	t.Helper()
	require.Equal(t, code, status.Code(err), "%v", err)
	d := rpc.Detail(err)
	require.NotNil(t, d)
	require.Equal(t, detail, d.GetCode())
	return d
}

func TestRead_BeginsAtTheBeginning(t *testing.T) {
	r := newRig(t, "inproc:reader")
	s := r.create(0)

	out, err := r.client.Read(t.Context(), readOf(s))

	require.NoError(t, err)
	require.Len(t, out.GetBatch().GetRecords(), 3)
	for i, record := range out.GetBatch().GetRecords() {
		require.EqualValues(t, i, record.SeqNum)
		require.Equal(t, []byte{byte(i)}, record.Body)
		require.EqualValues(t, i+1, record.Timestamp)
	}
	require.EqualValues(t, 3, out.GetNextSeqNum())
	require.EqualValues(t, 3, out.GetTail().GetNextSeqNum())
	require.Empty(t, out.ProtoReflect().GetUnknown())
}

func TestRead_FromEachKindOfStart(t *testing.T) {
	r := newRig(t, "inproc:reader")
	s := r.create(0)
	for name, c := range map[string]struct {
		change func(*samsav1.ReadRequest)
		first  uint64
	}{
		"seq_num": {func(in *samsav1.ReadRequest) { in.Start = &samsav1.ReadRequest_SeqNum{SeqNum: 1} }, 1},
		"seq_id": {func(in *samsav1.ReadRequest) {
			// The millisecond of an id does not count.
			in.Start = &samsav1.ReadRequest_SeqId{SeqId: stream.NewSeqID(99, 2, s.ID.Salt()).String()}
		}, 2},
		"timestamp":   {func(in *samsav1.ReadRequest) { in.Start = &samsav1.ReadRequest_Timestamp{Timestamp: 2} }, 1},
		"tail_offset": {func(in *samsav1.ReadRequest) { in.Start = &samsav1.ReadRequest_TailOffset{TailOffset: 1} }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			in := readOf(s)
			c.change(in)
			out, err := r.client.Read(t.Context(), in)
			require.NoError(t, err)
			require.Len(t, out.GetBatch().GetRecords(), int(3-c.first))
			require.Equal(t, c.first, out.GetBatch().GetRecords()[0].SeqNum)
		})
	}
}

func TestRead_RefusesBadRequests(t *testing.T) {
	r := newRig(t, "inproc:reader")
	s := r.create(0)
	for name, c := range map[string]struct {
		change func(*samsav1.ReadRequest)
		detail samsav1.ErrorCode
		field  string
	}{
		"bucket":     {func(in *samsav1.ReadRequest) { in.Bucket = "No" }, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "bucket"},
		"stream":     {func(in *samsav1.ReadRequest) { in.Stream = ".." }, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "stream"},
		"bad seq_id": {func(in *samsav1.ReadRequest) { in.Start = &samsav1.ReadRequest_SeqId{SeqId: "x"} }, samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, "seq_id"},
		"uuid v4": {func(in *samsav1.ReadRequest) { in.Start = &samsav1.ReadRequest_SeqId{SeqId: uuid.NewString()} },
			samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, "seq_id"},
		"foreign seq_id": {func(in *samsav1.ReadRequest) {
			in.Start = &samsav1.ReadRequest_SeqId{SeqId: stream.NewSeqID(1, 1, s.ID.Salt()^1).String()}
		}, samsav1.ErrorCode_ERROR_CODE_INVALID_SEQUENCE_ID, "seq_id"},
	} {
		t.Run(name, func(t *testing.T) {
			in := readOf(s)
			c.change(in)
			_, err := r.client.Read(t.Context(), in)
			detail := requireError(t, err, codes.InvalidArgument, c.detail)
			require.Equal(t, c.field, detail.GetField())
		})
	}
}

func TestRead_PastTheTailNamesTheTail(t *testing.T) {
	r := newRig(t, "inproc:reader")
	s := r.create(0)
	in := readOf(s)
	for _, past := range []uint64{4, 1 << 63, 1<<64 - 1} {
		in.Start = &samsav1.ReadRequest_SeqNum{SeqNum: past}

		_, err := r.client.Read(t.Context(), in)

		detail := requireError(t, err, codes.OutOfRange, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT)
		require.Equal(t, "3", detail.GetMetadata()["next_seq_num"])
		require.Equal(t, stream.NewSeqID(3, 3, s.ID.Salt()).String(), detail.GetMetadata()["next_seq_id"])
	}
	in.Clamp = true
	out, err := r.client.Read(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, stream.NewSeqID(3, 3, s.ID.Salt()).String(), out.GetNextSeqId())
}

func TestRead_OfDamageSaysWhere(t *testing.T) {
	r := newRig(t, "inproc:reader")
	r.cluster.InlineBytes = 0
	s := r.create(0)
	r.faults.Add(faulty.Rule{Op: objstore.OpGet, Times: -1, Fault: faulty.FlipBit()})

	_, err := r.client.Read(t.Context(), readOf(s))

	detail := requireError(t, err, codes.DataLoss, samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR)
	require.Contains(t, detail.GetMetadata()["key"], "log/")
	require.NotEmpty(t, detail.GetMetadata()["offset"])
}

func TestRead_WhileTheStoreIsDown(t *testing.T) {
	r := newRig(t, "inproc:reader")
	r.cluster.InlineBytes = 0
	s := r.create(0)
	r.faults.Add(faulty.Rule{Op: objstore.OpGet, Times: -1, Fault: faulty.Unavailable()})

	_, err := r.client.Read(t.Context(), readOf(s))

	requireError(t, err, codes.Unavailable, samsav1.ErrorCode_ERROR_CODE_STORAGE_ERROR)
}

func TestReadSession_FollowsAndEndsAtItsLimit(t *testing.T) {
	r := newRig(t, "inproc:reader")
	s := r.create(0)
	in := sessionOf(s)
	in.Start = &samsav1.ReadSessionRequest_SeqNum{SeqNum: 0}
	count := uint64(5)
	in.Limit = &samsav1.ReadLimit{Count: &count}
	session, err := r.client.ReadSession(t.Context(), in)
	require.NoError(t, err)

	var got []*samsav1.SequencedRecord
	for {
		out, err := session.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.Empty(t, out.ProtoReflect().GetUnknown())
		got = append(got, out.GetOutput().GetBatch().GetRecords()...)
		if out.Tail != nil {
			require.EqualValues(t, 3, out.Tail.NextSeqNum)
			require.NotEmpty(t, out.GetOutput().GetNextSeqId())
			r.cluster.Append(s, false, []fake.Record{body(3), body(4), body(5)})
		}
	}
	require.Len(t, got, 5)
	for i, record := range got {
		require.EqualValues(t, i, record.SeqNum)
	}
}

func TestReadSession_EndsWithAHintWhenTheReaderStops(t *testing.T) {
	r := newRig(t, "inproc:reader")
	session, err := r.client.ReadSession(t.Context(), sessionOf(r.create(0)))
	require.NoError(t, err)
	_, err = session.Recv()
	require.NoError(t, err)

	r.service.Stop()

	_, err = session.Recv()
	requireError(t, err, codes.Unavailable, samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE)
	hinted := false
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			hinted = info.GetRetryDelay().AsDuration() > 0
		}
	}
	require.True(t, hinted)
}

func TestReadSession_EndsWithItsStream(t *testing.T) {
	r := newRig(t, "inproc:reader")
	s := r.create(0)
	session, err := r.client.ReadSession(t.Context(), sessionOf(s))
	require.NoError(t, err)
	_, err = session.Recv()
	require.NoError(t, err)

	r.cluster.Delete(s, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "deletion pending").With("reason", "deletion_pending"))

	_, err = session.Recv()
	detail := requireError(t, err, codes.FailedPrecondition, samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED)
	require.Equal(t, "deletion_pending", detail.GetMetadata()["reason"])
}

func TestReadSession_CancelledByTheClient(t *testing.T) {
	r := newRig(t, "inproc:reader")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	session, err := r.client.ReadSession(ctx, sessionOf(r.create(0)))
	require.NoError(t, err)
	for caughtUp := false; !caughtUp; {
		out, err := session.Recv()
		require.NoError(t, err)
		caughtUp = out.GetTail() != nil
	}
	cancel()
	for err == nil {
		_, err = session.Recv()
	}
	require.Equal(t, codes.Canceled, status.Code(err))
}
