package client

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

func drawHeaders(t *rapid.T) (ours []Header, theirs []*samsav1.Header) {
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		h := Header{Name: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "name"), Value: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "value")}
		ours = append(ours, h)
		theirs = append(theirs, &samsav1.Header{Name: h.Name, Value: h.Value})
	}
	return ours, theirs
}

// What is encoded by hand is what protobuf-go decodes.
func TestWire_AppendRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &samsav1.AppendSessionRequest{Bucket: "b", Stream: "s"}
		input := AppendInput{}
		for range rapid.IntRange(1, 5).Draw(t, "records") {
			ours := AppendRecord{Body: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "body")}
			theirs := &samsav1.AppendRecord{Body: ours.Body}
			ours.Headers, theirs.Headers = drawHeaders(t)
			if rapid.Bool().Draw(t, "timestamped") {
				ours.Timestamp = new(rapid.Uint64().Draw(t, "timestamp"))
				theirs.Timestamp = ours.Timestamp
			}
			input.Records = append(input.Records, ours)
			want.Records = append(want.Records, theirs)
		}
		if rapid.Bool().Draw(t, "conditions") {
			id := stream.NewSeqID(1, 2, 3)
			input.Conditions = Conditions{MatchSeqNum: new(uint64(0)), MatchSeqID: &id, FencingToken: new("")}
			want.MatchSeqNum, want.MatchSeqId, want.FencingToken = new(uint64(0)), new(id.String()), new("")
		}
		b, err := encodeBatch(input)
		require.NoError(t, err)
		b.producerSeq = rapid.Uint64().Draw(t, "producer_seq")
		want.ProducerId, want.ProducerSeq = new("p"), new(b.producerSeq)
		s := (&Client{}).Bucket("b").Stream("s")

		wire, err := newCodec().Marshal(&appendMessage{prefix: s.appendPrefix(b, "p", true), records: b.records})
		require.NoError(t, err)
		var got samsav1.AppendSessionRequest
		require.NoError(t, proto.Unmarshal(wire.Materialize(), &got))
		require.True(t, proto.Equal(want, &got), "want %v, got %v", want, &got)
	})
}

// What protobuf-go encodes is decoded by hand to the same.
func TestWire_ReadSessionResponse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []Record
		batch := &samsav1.SequencedRecordBatch{}
		for range rapid.IntRange(0, 5).Draw(t, "records") {
			id := stream.NewSeqID(rapid.Uint64Max(1<<47).Draw(t, "ms"), stream.SeqNum(rapid.Uint64Max(1<<47).Draw(t, "n")), 7)
			r := Record{SeqID: id, SeqNum: uint64(id.SeqNum()), Timestamp: rapid.Uint64().Draw(t, "timestamp"), Body: rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "body")}
			theirs := &samsav1.SequencedRecord{SeqId: id.String(), SeqNum: r.SeqNum, Timestamp: r.Timestamp, Body: r.Body}
			r.Headers, theirs.Headers = drawHeaders(t)
			want = append(want, r)
			batch.Records = append(batch.Records, theirs)
		}
		tail := stream.NewSeqID(5, 6, 7)
		wire, err := proto.Marshal(&samsav1.ReadSessionResponse{
			Output: &samsav1.ReadOutput{Output: &samsav1.ReadOutput_Batch{Batch: batch}},
			Tail:   &samsav1.Tail{NextSeqId: tail.String(), NextSeqNum: 6, LastTimestamp: 8},
		})
		require.NoError(t, err)
		var got readMessage
		require.NoError(t, got.decode(wire))
		require.Equal(t, &Tail{SeqNum: 6, SeqID: tail, LastTimestamp: 8}, got.tail)
		require.Len(t, got.records, len(want))
		for i := range want {
			requireSameRecord(t, want[i], got.records[i])
		}
	})
}

func requireSameRecord(t require.TestingT, want, got Record) {
	require.Equal(t, want.SeqID, got.SeqID)
	require.Equal(t, want.SeqNum, got.SeqNum)
	require.Equal(t, want.Timestamp, got.Timestamp)
	require.Equal(t, want.Body, got.Body)
	require.Len(t, got.Headers, len(want.Headers))
	for i, h := range want.Headers {
		require.Equal(t, string(h.Name), string(got.Headers[i].Name))
		require.Equal(t, string(h.Value), string(got.Headers[i].Value))
	}
}

func FuzzReadMessage(f *testing.F) {
	wire, err := proto.Marshal(&samsav1.ReadSessionResponse{Output: &samsav1.ReadOutput{Output: &samsav1.ReadOutput_NextSeqId{NextSeqId: stream.NewSeqID(1, 2, 3).String()}}})
	require.NoError(f, err)
	f.Add(wire)
	f.Fuzz(func(t *testing.T, b []byte) {
		var ours readMessage
		if err := ours.decode(b); err != nil {
			return
		}
		for _, r := range ours.records {
			_ = r.MeteredBytes()
		}
	})
}

// scripted is a StreamService that plays given messages to each session in turn,
// the last ones to all further sessions.
type scripted struct {
	samsav1.UnimplementedStreamServiceServer
	sessions []func(samsav1.StreamService_ReadSessionServer) error
	begun    atomic.Int64
	reads    []*samsav1.SequencedRecord
}

func (s *scripted) ReadSession(_ *samsav1.ReadSessionRequest, call samsav1.StreamService_ReadSessionServer) error {
	return s.sessions[min(int(s.begun.Add(1)), len(s.sessions))-1](call)
}

func (s *scripted) Read(context.Context, *samsav1.ReadRequest) (*samsav1.ReadResponse, error) {
	return &samsav1.ReadResponse{Output: &samsav1.ReadResponse_Batch{Batch: &samsav1.SequencedRecordBatch{Records: s.reads}}}, nil
}

func script(t *testing.T, reads []*samsav1.SequencedRecord, sessions ...func(samsav1.StreamService_ReadSessionServer) error) *Stream {
	t.Helper()
	s := &scripted{sessions: sessions, reads: reads}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	samsav1.RegisterStreamServiceServer(server, s)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-served })
	c, err := New(listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c.Bucket("logs").Stream("web")
}

func numbered(n ...uint64) []*samsav1.SequencedRecord {
	var records []*samsav1.SequencedRecord
	for _, n := range n {
		records = append(records, &samsav1.SequencedRecord{SeqNum: n, SeqId: stream.NewSeqID(1, stream.SeqNum(n), 1).String()})
	}
	return records
}

func sends(batches ...[]*samsav1.SequencedRecord) func(samsav1.StreamService_ReadSessionServer) error {
	return func(call samsav1.StreamService_ReadSessionServer) error {
		for _, batch := range batches {
			output := &samsav1.ReadOutput{Output: &samsav1.ReadOutput_Batch{Batch: &samsav1.SequencedRecordBatch{Records: batch}}}
			if err := call.Send(&samsav1.ReadSessionResponse{Output: output}); err != nil {
				return err
			}
		}
		<-call.Context().Done()
		return nil
	}
}

func TestReadSession_SaysWhenTheServerBreaksTheOrder(t *testing.T) {
	for name, c := range map[string]struct {
		batches [][]*samsav1.SequencedRecord
		want    string
	}{
		"gap in a batch":      {[][]*samsav1.SequencedRecord{numbered(0, 2)}, "record 2 follows record 0"},
		"repeat":              {[][]*samsav1.SequencedRecord{numbered(0, 1), numbered(1)}, "record 1 comes again: 2 is next"},
		"gap between batches": {[][]*samsav1.SequencedRecord{numbered(0, 1), numbered(3)}, "record 2 was left out"},
	} {
		t.Run(name, func(t *testing.T) {
			session := script(t, numbered(2), sends(c.batches...)).ReadSession(t.Context(), Read{})
			var err error
			for range 2 {
				if _, err = session.Next(); err != nil {
					break
				}
			}
			var broken *ProtocolError
			require.ErrorAs(t, err, &broken)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A server that says nothing, not even a heartbeat, is left for another.
func TestReadSession_LeavesASilentServer(t *testing.T) {
	session := script(t, nil, sends(), sends(numbered(0))).ReadSession(t.Context(), Read{}, silentFor(50*time.Millisecond))
	defer session.Close()
	batch, err := session.Next()
	require.NoError(t, err)
	require.Len(t, batch.Records, 1)
}

// Without limits a session has no end; one that ends is resumed.
func TestReadSession_HeartbeatsAreNotShown(t *testing.T) {
	session := script(t, nil, func(call samsav1.StreamService_ReadSessionServer) error {
		for range 3 {
			if err := call.Send(&samsav1.ReadSessionResponse{}); err != nil {
				return err
			}
		}
		return nil
	}, sends(numbered(0))).ReadSession(t.Context(), Read{})
	defer session.Close()
	batch, err := session.Next()
	require.NoError(t, err)
	require.Len(t, batch.Records, 1)
}
