package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/client/clienttest"
	"github.com/samsa-io/samsa/pkg/rpc"
)

func TestNew_ChecksTheAddress(t *testing.T) {
	for _, good := range []string{"http://127.0.0.1:1", "localhost:1", "https://samsa.example", "http://[::1]:2/"} {
		c, err := client.New(good)
		require.NoError(t, err, good)
		require.NoError(t, c.Close())
	}
	for _, bad := range []string{"ftp://x:1", "http://", "http://h:1/path", "http://h:port"} {
		_, err := client.New(bad)
		require.ErrorContains(t, err, bad)
	}
}

func TestBuckets_LifeOfOne(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, err := f.client.CreateBucket(ctx, "logs", client.BucketConfig{})
	require.ErrorIs(t, err, client.ErrAlreadyExists)

	info, err := f.client.CreateBucket(ctx, "other", client.BucketConfig{
		CreateStreamOnAppend: new(true), DefaultStream: client.StreamConfig{RetentionAge: new(time.Hour)},
	})
	require.NoError(t, err)
	require.Equal(t, "other", info.Name)
	require.WithinDuration(t, time.Now(), info.CreatedAt, time.Minute)

	config, err := f.client.ReconfigureBucket(ctx, "other",
		client.BucketConfig{DefaultStream: client.StreamConfig{StorageClass: client.StorageClassExpress}},
		client.PathDefaultStream+"."+client.PathStorageClass)
	require.NoError(t, err)
	require.Equal(t, client.StorageClassExpress, config.DefaultStream.StorageClass)
	require.Equal(t, time.Hour, *config.DefaultStream.RetentionAge)
	require.True(t, *config.CreateStreamOnAppend)

	require.NoError(t, f.client.DeleteBucket(ctx, "other"))
	_, err = f.client.BucketConfig(ctx, "other")
	require.ErrorIs(t, err, client.ErrNotFound)
}

func TestStreams_ListsAllPages(t *testing.T) {
	f := newFixture(t)
	for i := range 25 {
		_, err := f.client.Bucket("logs").CreateStream(t.Context(), fmt.Sprintf("s/%02d", i), client.StreamConfig{})
		require.NoError(t, err)
	}
	var names []string
	for s, err := range f.client.Bucket("logs").Streams(t.Context(), client.List{Prefix: "s/", PageSize: 10}) {
		require.NoError(t, err)
		names = append(names, s.Name)
	}
	require.Len(t, names, 25)
	require.Equal(t, "s/24", names[24])

	for _, err := range f.client.Bucket("none").Streams(t.Context(), client.List{}) {
		require.ErrorIs(t, err, client.ErrNotFound)
	}
}

func TestAccessTokens_CarryTheirScope(t *testing.T) {
	f := newFixture(t)
	token := client.AccessToken{
		ID: "writer", ExpiresAt: new(time.Unix(2_000_000_000, 0).UTC()), AutoPrefixStreams: true,
		Buckets: client.Exactly("logs"), Streams: client.WithPrefix("web/"),
		Operations: []client.Operation{samsav1.Operation_OPERATION_APPEND},
	}
	secret, err := f.client.IssueAccessToken(t.Context(), token)
	require.NoError(t, err)
	require.NotEmpty(t, secret)
	for got, err := range f.client.AccessTokens(t.Context(), client.List{}) {
		require.NoError(t, err)
		require.Equal(t, token, got)
	}
	revoked, err := f.client.RevokeAccessToken(t.Context(), "writer")
	require.NoError(t, err)
	require.Equal(t, token, revoked)
}

func TestWithToken_IsSentWithEveryCall(t *testing.T) {
	server, err := clienttest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	server.RequireToken("s3cret")
	for token, good := range map[string]bool{"s3cret": true, "": false, "wrong": false} {
		c, err := client.New(server.Address(), client.WithToken(token), client.WithConnections(2))
		require.NoError(t, err)
		_, err = c.CreateBucket(t.Context(), "bucket-"+token+"x", client.BucketConfig{})
		if good {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, client.ErrUnauthenticated)
		}
		require.NoError(t, c.Close())
	}
}

func TestAppend_ReadsBackWhatWentIn(t *testing.T) {
	f := newFixture(t)
	in := client.AppendRecord{
		Timestamp: new(uint64(1_000)), Body: []byte("\x00\xff body"),
		Headers: []client.Header{{Name: []byte("k"), Value: []byte("v")}, {Name: []byte("empty")}},
	}
	ack := f.append(t, in, client.AppendRecord{})
	require.Equal(t, uint64(0), ack.StartSeqNum)
	require.Equal(t, uint64(2), ack.EndSeqNum)
	require.Equal(t, uint64(1), uint64(ack.EndSeqID.SeqNum()))
	require.Equal(t, uint64(2), ack.Tail.SeqNum)
	require.True(t, ack.Placed)

	result, err := f.stream.Read(t.Context(), client.Read{})
	require.NoError(t, err)
	require.Len(t, result.Records, 2)
	require.Equal(t, uint64(2), result.NextSeqNum)
	require.Equal(t, uint64(1_000), result.Records[0].Timestamp)
	require.Equal(t, in.Body, result.Records[0].Body)
	require.Equal(t, "k", string(result.Records[0].Headers[0].Name))
	require.Empty(t, result.Records[1].Body)

	tail, err := f.stream.CheckTail(t.Context())
	require.NoError(t, err)
	require.Equal(t, ack.Tail, tail)
	require.Equal(t, tail, *result.Tail)
}

func TestAppend_RefusesWhatIsTooMuchBeforeSendingIt(t *testing.T) {
	f := newFixture(t)
	for _, input := range []client.AppendInput{
		{}, batchOf(0, 1001), {Records: []client.AppendRecord{{Body: make([]byte, client.MaxBatchBytes-7)}}},
	} {
		_, err := f.stream.Append(t.Context(), input)
		require.ErrorIs(t, err, client.ErrInvalidArgument)
	}
	f.append(t, client.AppendRecord{Body: make([]byte, client.MaxBatchBytes-8)})
}

func TestAppend_FailedConditionsCarryTheActualValues(t *testing.T) {
	f := newFixture(t)
	_, err := f.stream.Fence(t.Context(), "owner-1", client.Conditions{})
	require.NoError(t, err)

	_, err = f.stream.Append(t.Context(), client.AppendInput{Records: batchOf(0, 1).Records,
		Conditions: client.Conditions{FencingToken: new("owner-0"), MatchSeqNum: new(uint64(7))}})
	require.ErrorIs(t, err, client.ErrConditionFailed)
	var failure *client.Error
	require.ErrorAs(t, err, &failure)
	token, ok := failure.FencingToken()
	require.True(t, ok)
	require.Equal(t, "owner-1", token)
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.NotEmpty(t, failure.RequestID)

	_, err = f.stream.Append(t.Context(), client.AppendInput{Records: batchOf(0, 1).Records,
		Conditions: client.Conditions{FencingToken: new("owner-1"), MatchSeqNum: new(uint64(7))}})
	require.ErrorAs(t, err, &failure)
	next, ok := failure.NextSeqNum()
	require.True(t, ok)
	require.Equal(t, uint64(1), next)
	id, ok := failure.NextSeqID()
	require.True(t, ok)
	parsed, err := client.ParseSeqID(id)
	require.NoError(t, err)

	_, err = f.stream.Append(t.Context(), client.AppendInput{Records: batchOf(0, 1).Records, Conditions: client.Conditions{MatchSeqID: &parsed}})
	require.NoError(t, err)
}

func TestTrim_MovesTheFirstRecord(t *testing.T) {
	f := newFixture(t)
	f.append(t, batchOf(0, 10).Records...)
	_, err := f.stream.Trim(t.Context(), 4, client.Conditions{})
	require.NoError(t, err)
	result, err := f.stream.Read(t.Context(), client.Read{Start: client.FromSeqNum(0)})
	require.NoError(t, err)
	require.Equal(t, uint64(4), result.Records[0].SeqNum)
	command, ok := result.Records[6].Command()
	require.True(t, ok)
	require.Equal(t, "trim", command)
}

func TestWithTimestamp_LetsCommandsIntoAStreamThatDemandsTimestamps(t *testing.T) {
	f := newFixture(t)
	_, err := f.client.Bucket("logs").ReconfigureStream(t.Context(), "web", client.StreamConfig{TimestampingMode: client.TimestampingClientRequire})
	require.NoError(t, err)
	_, err = f.stream.Fence(t.Context(), "me", client.Conditions{})
	require.ErrorIs(t, err, client.ErrInvalidArgument)
	_, err = f.stream.Fence(t.Context(), "me", client.Conditions{}, client.WithTimestamp(1000))
	require.NoError(t, err)
	_, err = f.stream.Trim(t.Context(), 1, client.Conditions{FencingToken: new("me")}, client.WithTimestamp(2000))
	require.NoError(t, err)
	input := client.AppendInput{Records: []client.AppendRecord{{Body: []byte("a")}, {Timestamp: new(uint64(4000))}}}
	_, err = f.stream.Append(t.Context(), input, client.WithTimestamp(3000))
	require.NoError(t, err)
	require.Nil(t, input.Records[0].Timestamp, "the caller's records are left alone")

	result, err := f.stream.Read(t.Context(), client.Read{})
	require.NoError(t, err)
	var timestamps []uint64
	for _, r := range result.Records {
		timestamps = append(timestamps, r.Timestamp)
	}
	require.Equal(t, []uint64{2000, 3000, 4000}, timestamps)
}

func TestRead_StartsWhereAsked(t *testing.T) {
	f := newFixture(t)
	for i := range 10 {
		f.append(t, client.AppendRecord{Timestamp: new(uint64(i * 100)), Body: record(i).Body})
	}
	all, err := f.stream.Read(t.Context(), client.Read{})
	require.NoError(t, err)
	for start, want := range map[uint64]client.Start{
		3: client.FromSeqNum(3), 4: client.FromSeqID(all.Records[4].SeqID), 6: client.FromTimestamp(550), 8: client.FromTailOffset(2),
	} {
		result, err := f.stream.Read(t.Context(), client.Read{Start: want, Count: new(uint64(1))})
		require.NoError(t, err)
		require.Equal(t, start, result.Records[0].SeqNum)
	}
	_, err = f.stream.Read(t.Context(), client.Read{Start: client.FromSeqNum(99)})
	require.ErrorIs(t, err, client.ErrPastTail)
	result, err := f.stream.Read(t.Context(), client.Read{Start: client.FromSeqNum(99), Clamp: true, Wait: time.Millisecond})
	require.NoError(t, err)
	require.Empty(t, result.Records)
	require.Equal(t, uint64(10), result.Tail.SeqNum)
	result, err = f.stream.Read(t.Context(), client.Read{Until: new(uint64(250))})
	require.NoError(t, err)
	require.Len(t, result.Records, 3)
}

func TestRetry_ByPolicyAndByWhatMayHaveHappened(t *testing.T) {
	lost := func(n int) error { return map[bool]error{true: clienttest.OutcomeUnknown()}[n == 1] }
	refused := func(n int) error { return map[bool]error{true: clienttest.Unavailable(nil)}[n <= 3] }
	producer := client.AsProducer(client.ProducerSeq{ID: "p"})
	for name, c := range map[string]struct {
		policy client.RetryPolicy
		faults clienttest.Faults
		opts   []client.AppendOption
		want   error
		stored uint64
	}{
		"refused":                     {client.RetryNoSideEffects, clienttest.Faults{BeforeAppend: refused}, nil, nil, 1},
		"refused, no retries":         {client.RetryNone, clienttest.Faults{BeforeAppend: refused}, nil, client.ErrUnavailable, 0},
		"ack lost":                    {client.RetryNoSideEffects, clienttest.Faults{AfterAppend: lost}, nil, client.ErrOutcomeUnknown, 1},
		"ack lost, retry all":         {client.RetryAll, clienttest.Faults{AfterAppend: lost}, nil, nil, 2},
		"ack lost, producer":          {client.RetryNoSideEffects, clienttest.Faults{AfterAppend: lost}, []client.AppendOption{producer}, nil, 1},
		"ack lost, producer, no more": {client.RetryNone, clienttest.Faults{AfterAppend: lost}, []client.AppendOption{producer}, client.ErrOutcomeUnknown, 1},
	} {
		t.Run(name, func(t *testing.T) {
			retry := fastRetry()
			retry.Policy = c.policy
			f := newFixture(t, client.WithRetry(retry))
			f.server.SetFaults(c.faults)
			_, err := f.stream.Append(t.Context(), batchOf(0, 1), c.opts...)
			require.ErrorIs(t, err, c.want)
			f.server.SetFaults(clienttest.Faults{})
			tail, err := f.stream.CheckTail(t.Context())
			require.NoError(t, err)
			require.Equal(t, c.stored, tail.SeqNum)
		})
	}
}

// The first attempt's ack is lost, the second is surely refused: the whole is
// still unknown.
func TestRetry_AnEarlierUnknownAttemptStaysUnknown(t *testing.T) {
	f := newFixture(t)
	f.server.SetFaults(clienttest.Faults{
		BeforeAppend: func(n int) error {
			if n > 1 {
				return clienttest.Errorf(samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED, codes.PermissionDenied, nil, "revoked")
			}
			return nil
		},
		AfterAppend: func(int) error { return clienttest.OutcomeUnknown() },
	})
	_, err := f.stream.Append(t.Context(), batchOf(0, 1), client.AsProducer(client.ProducerSeq{ID: "p"}))
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
}

// What a change may have done before it failed is not done a second time: the second
// call's answer would hide the first one's.
func TestRetry_AChangeThatMayHaveHappenedIsNotMadeAgain(t *testing.T) {
	network := clienttest.Errorf(samsav1.ErrorCode_ERROR_CODE_NETWORK_ERROR, codes.Unavailable,
		map[string]string{"reason": "deletion_unfinished"}, "not every owner has acknowledged")
	database := clienttest.Errorf(samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR, codes.Unavailable, nil, "the database does not answer")
	pending := clienttest.Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, codes.FailedPrecondition,
		map[string]string{"reason": "deletion_pending"}, "deletion pending")
	ctx := t.Context()
	remove := func(c *client.Client) error { return c.DeleteBucket(ctx, "logs") }
	issue := func(c *client.Client) error {
		_, err := c.IssueAccessToken(ctx, client.AccessToken{ID: "t"})
		return err
	}
	list := func(c *client.Client) error { _, err := c.BucketConfig(ctx, "logs"); return err }
	configure := func(c *client.Client) error {
		_, err := c.ReconfigureBucket(ctx, "logs", client.BucketConfig{CreateStreamOnRead: new(true)})
		return err
	}
	for name, c := range map[string]struct {
		call    func(*client.Client) error
		policy  client.RetryPolicy
		answers []error // what comes before the call succeeds
		want    samsav1.ErrorCode
		calls   int
	}{
		"deletion unfinished":             {remove, client.RetryNoSideEffects, []error{network, pending}, samsav1.ErrorCode_ERROR_CODE_NETWORK_ERROR, 1},
		"token perhaps made":              {issue, client.RetryNoSideEffects, []error{database}, samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR, 1},
		"deletion unfinished, retry all":  {remove, client.RetryAll, []error{network, pending}, samsav1.ErrorCode_ERROR_CODE_OUTCOME_UNKNOWN, 2},
		"token perhaps made, retry all":   {issue, client.RetryAll, []error{database}, 0, 2},
		"nothing has happened":            {issue, client.RetryNoSideEffects, []error{clienttest.Unavailable(nil)}, 0, 2},
		"a second change changes no more": {configure, client.RetryNoSideEffects, []error{database, network}, 0, 3},
		"a call that only reads":          {list, client.RetryNoSideEffects, []error{database}, 0, 2},
		"refused":                         {remove, client.RetryAll, []error{pending}, samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, 1},
	} {
		t.Run(name, func(t *testing.T) {
			retry := fastRetry()
			retry.Policy = c.policy
			f := newFixture(t, client.WithRetry(retry))
			calls := 0
			f.server.SetFaults(clienttest.Faults{OnUnary: func(string) error {
				calls++
				if calls <= len(c.answers) {
					return c.answers[calls-1]
				}
				return nil
			}})
			err := c.call(f.client)
			var failure *client.Error
			if errors.As(err, &failure) {
				require.Equal(t, c.want, failure.Code)
			} else {
				require.NoError(t, err)
				require.Zero(t, c.want)
			}
			require.Equal(t, c.calls, calls)
		})
	}
}

func TestRetry_ServerThatIsNotThereLeavesNoDoubt(t *testing.T) {
	var told int
	c, err := client.New("127.0.0.1:1", client.WithRetry(client.Retry{
		GiveUpAfter: 50 * time.Millisecond, OnRetry: func(error, time.Duration) { told++ },
	}))
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	_, err = c.Bucket("logs").Stream("web").Append(t.Context(), batchOf(0, 1))
	require.ErrorIs(t, err, client.ErrUnavailable)
	require.NotErrorIs(t, err, client.ErrOutcomeUnknown)
	require.Positive(t, told)
}

func TestRetry_WaitsAsLongAsTheServerAsks(t *testing.T) {
	const asked = 150 * time.Millisecond
	var delays []time.Duration
	retry := fastRetry()
	retry.OnRetry = func(_ error, delay time.Duration) { delays = append(delays, delay) }
	f := newFixture(t, client.WithRetry(retry))
	f.server.SetFaults(clienttest.Faults{BeforeAppend: func(n int) error {
		if n > 1 {
			return nil
		}
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_RESOURCE_EXHAUSTED, "try again later").After(asked).GRPCStatus().Err()
	}})
	begun := time.Now()
	_, err := f.stream.Append(t.Context(), batchOf(0, 1))
	require.NoError(t, err)
	require.Len(t, delays, 1)
	require.GreaterOrEqual(t, delays[0], asked)
	require.GreaterOrEqual(t, time.Since(begun), asked)
}

func TestRetry_EndsWithTheContext(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.server.SetFaults(clienttest.Faults{OnUnary: func(string) error { cancel(); return clienttest.Unavailable(nil) }})
	_, err := f.stream.CheckTail(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestError_SaysWhatAndWhere(t *testing.T) {
	f := newFixture(t)
	_, err := f.client.CreateBucket(t.Context(), "B", client.BucketConfig{})
	var failure *client.Error
	require.True(t, errors.As(err, &failure))
	require.Equal(t, "bucket", failure.Field)
	require.Equal(t, samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, failure.Code)
	require.True(t, strings.HasSuffix(err.Error(), "[INVALID_ARGUMENT]"), err.Error())
}
