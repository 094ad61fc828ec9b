package contract

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"

	"github.com/samsa-io/samsa/tests/cluster"
)

// patience bounds every wait for a system that may run with the race detector on
// a busy machine. No rule is about time this long.
const patience = 2 * time.Minute

// Options say how thorough a run is.
type Options struct {
	// Short goes through gRPC alone, and leaves out what takes many calls.
	Short bool
}

// Suite is the rules of the contract, for one target. Each method whose name
// begins with Test is a rule.
type Suite struct {
	target  cluster.Target
	options Options
	grpc    *door
	rest    *door
	names   atomic.Uint64
	prefix  string
	web     *http.Client // for what is not the shape of a call
}

// door is a way into the system. Both speak the same messages.
type door struct {
	name string
	conn grpc.ClientConnInterface
	samsav1.AccountServiceClient
	samsav1.BucketServiceClient
	samsav1.StreamServiceClient
}

func newDoor(name string, conn grpc.ClientConnInterface) *door {
	return &door{
		name: name, conn: conn,
		AccountServiceClient: samsav1.NewAccountServiceClient(conn),
		BucketServiceClient:  samsav1.NewBucketServiceClient(conn),
		StreamServiceClient:  samsav1.NewStreamServiceClient(conn),
	}
}

// Run checks every rule against a target, several at a time.
func Run(t *testing.T, target cluster.Target, o Options) {
	s := &Suite{
		target: target, options: o,
		grpc:   newDoor("grpc", cluster.Connect(t, target, target.Address())),
		rest:   newDoor("rest", newRESTConn(t, target)),
		web:    cluster.HTTPClient(t, target),
		prefix: fmt.Sprintf("c%x", time.Now().UnixNano()),
	}
	suite := reflect.ValueOf(s)
	for method := range suite.Type().Methods() {
		if !strings.HasPrefix(method.Name, "Test") {
			continue
		}
		rule := suite.MethodByName(method.Name).Interface().(func(*testing.T))
		t.Run(method.Name, func(t *testing.T) {
			t.Parallel()
			rule(t)
		})
	}
}

// each runs a rule through every door.
func (s *Suite) each(t *testing.T, rule func(*testing.T, *door)) {
	doors := []*door{s.grpc, s.rest}
	if s.options.Short {
		doors = doors[:1]
	}
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) { rule(t, d) })
	}
}

// unique is a name that nothing else in the run has: a valid bucket name.
func (s *Suite) unique() string { return fmt.Sprintf("%s-%d", s.prefix, s.names.Add(1)) }

// call bounds one call.
func call(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// bucket makes a bucket of its own for a test.
func (s *Suite) bucket(t testing.TB, config *samsav1.BucketConfig) string {
	t.Helper()
	name := s.unique()
	_, err := s.grpc.CreateBucket(call(t), &samsav1.CreateBucketRequest{Bucket: name, Config: config})
	require.NoError(t, err)
	return name
}

// at is a stream, seen through a door.
type at struct {
	*door
	bucket, stream string
}

// stream makes a stream in a bucket of its own.
func (s *Suite) stream(t testing.TB, d *door, config *samsav1.StreamConfig) *at {
	t.Helper()
	if config == nil {
		config = &samsav1.StreamConfig{RetentionAgeSeconds: new(uint64(0))} // tests have timestamps from long ago
	}
	a := &at{door: d, bucket: s.bucket(t, nil), stream: "s"}
	a.create(t, config)
	return a
}

func (a *at) create(t testing.TB, config *samsav1.StreamConfig) {
	t.Helper()
	_, err := a.CreateStream(call(t), &samsav1.CreateStreamRequest{Bucket: a.bucket, Stream: a.stream, Config: config})
	require.NoError(t, err)
}

// named is another stream of the same bucket, which is not made.
func (a *at) named(stream string) *at { return &at{door: a.door, bucket: a.bucket, stream: stream} }

// try appends what the request says, to this stream.
func (a *at) try(t testing.TB, r *samsav1.AppendRequest) (*samsav1.AppendResponse, error) {
	t.Helper()
	r.Bucket, r.Stream = a.bucket, a.stream
	return a.Append(call(t), r)
}

func (a *at) append(t testing.TB, r *samsav1.AppendRequest) *samsav1.AppendResponse {
	t.Helper()
	response, err := a.try(t, r)
	require.NoError(t, err)
	return response
}

// fill appends bodies, one record each, in one batch.
func (a *at) fill(t testing.TB, bodies ...string) *samsav1.AppendResponse {
	t.Helper()
	return a.append(t, &samsav1.AppendRequest{Records: records(bodies...)})
}

func (a *at) tail(t testing.TB) *samsav1.CheckTailResponse {
	t.Helper()
	response, err := a.CheckTail(call(t), &samsav1.CheckTailRequest{Bucket: a.bucket, Stream: a.stream})
	require.NoError(t, err)
	return response
}

// tryRead reads what the request says, of this stream.
func (a *at) tryRead(t testing.TB, r *samsav1.ReadRequest) (*samsav1.ReadResponse, error) {
	t.Helper()
	r.Bucket, r.Stream = a.bucket, a.stream
	return a.Read(call(t), r)
}

func (a *at) read(t testing.TB, r *samsav1.ReadRequest) *samsav1.ReadResponse {
	t.Helper()
	response, err := a.tryRead(t, r)
	require.NoError(t, err)
	return response
}

// all reads the whole stream, in as many reads as it takes.
func (a *at) all(t testing.TB) []*samsav1.SequencedRecord {
	t.Helper()
	var out []*samsav1.SequencedRecord
	for next := uint64(0); ; {
		response := a.read(t, &samsav1.ReadRequest{Start: &samsav1.ReadRequest_SeqNum{SeqNum: next}})
		got := response.GetBatch().GetRecords()
		if len(got) == 0 {
			return out
		}
		out, next = append(out, got...), got[len(got)-1].GetSeqNum()+1
	}
}

// unchanged remembers where the stream stands and checks that it is there still.
func (a *at) unchanged(t testing.TB) (check func()) {
	t.Helper()
	before := a.tail(t).GetNextSeqNum()
	return func() {
		t.Helper()
		require.Equal(t, before, a.tail(t).GetNextSeqNum(), "the tail moved")
	}
}

func records(bodies ...string) []*samsav1.AppendRecord {
	out := make([]*samsav1.AppendRecord, len(bodies))
	for i, body := range bodies {
		out[i] = &samsav1.AppendRecord{Body: []byte(body)}
	}
	return out
}

// command is a command record.
func command(name string, body []byte) []*samsav1.AppendRecord {
	return []*samsav1.AppendRecord{{Headers: []*samsav1.Header{{Value: []byte(name)}}, Body: body}}
}

func bodies(records []*samsav1.SequencedRecord) []string {
	out := []string{}
	for _, r := range records {
		out = append(out, string(r.GetBody()))
	}
	return out
}

func seqNums(records []*samsav1.SequencedRecord) []uint64 {
	out := []uint64{}
	for _, r := range records {
		out = append(out, r.GetSeqNum())
	}
	return out
}
