package contract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// TestNames_BucketHas3To63OfLowercaseDigitsAndDash: alphanumeric at both ends.
func (s *Suite) TestNames_BucketHas3To63OfLowercaseDigitsAndDash(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		long := s.unique()
		long += strings.Repeat("x", 63-len(long))
		for _, name := range []string{s.unique(), long, s.unique() + "--0"} {
			_, err := d.CreateBucket(call(t), &samsav1.CreateBucketRequest{Bucket: name})
			require.NoError(t, err, "%q", name)
		}
		for _, name := range []string{
			"", "ab", long + "x", "-" + s.unique(), s.unique() + "-", "A" + s.unique(), s.unique() + "_x", s.unique() + ".x",
			s.unique() + "é", s.unique() + " ", s.unique() + "/x", s.unique() + "\x00",
		} {
			_, err := d.CreateBucket(call(t), &samsav1.CreateBucketRequest{Bucket: name})
			require.Equal(t, "bucket", requireFailure(t, invalid, err).GetField(), "%q", name)
		}
	})
}

// TestNames_MalformedBucketIsRefusedEverywhere, not only where one is created.
func (s *Suite) TestNames_MalformedBucketIsRefusedEverywhere(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		const bad = "No_Bucket"
		_, err := d.GetBucketConfig(call(t), &samsav1.GetBucketConfigRequest{Bucket: bad})
		requireFailure(t, invalid, err)
		_, err = d.ReconfigureBucket(call(t), &samsav1.ReconfigureBucketRequest{Bucket: bad})
		requireFailure(t, invalid, err)
		_, err = d.DeleteBucket(call(t), &samsav1.DeleteBucketRequest{Bucket: bad})
		requireFailure(t, invalid, err)
		_, err = d.ListStreams(call(t), &samsav1.ListStreamsRequest{Bucket: bad})
		requireFailure(t, invalid, err)
		s.refusedForStream(t, &at{door: d, bucket: bad, stream: "s"}, "bucket")
	})
}

// refusedForStream checks that every call about a stream is refused for its name.
func (s *Suite) refusedForStream(t *testing.T, a *at, field string) {
	t.Helper()
	_, create := a.CreateStream(call(t), &samsav1.CreateStreamRequest{Bucket: a.bucket, Stream: a.stream})
	_, get := a.GetStreamConfig(call(t), &samsav1.GetStreamConfigRequest{Bucket: a.bucket, Stream: a.stream})
	_, reconfigure := a.ReconfigureStream(call(t), &samsav1.ReconfigureStreamRequest{Bucket: a.bucket, Stream: a.stream})
	_, remove := a.DeleteStream(call(t), &samsav1.DeleteStreamRequest{Bucket: a.bucket, Stream: a.stream})
	_, tail := a.CheckTail(call(t), &samsav1.CheckTailRequest{Bucket: a.bucket, Stream: a.stream})
	_, appended := a.try(t, &samsav1.AppendRequest{Records: records("x")})
	_, read := a.tryRead(t, &samsav1.ReadRequest{})
	session, err := a.ReadSession(call(t), &samsav1.ReadSessionRequest{Bucket: a.bucket, Stream: a.stream})
	if err == nil {
		_, err = session.Recv()
	}
	for what, err := range map[string]error{
		"create": create, "get": get, "reconfigure": reconfigure, "delete": remove, "tail": tail, "append": appended, "read": read, "session": err,
	} {
		require.Equal(t, field, requireFailure(t, invalid, err).GetField(), "%s %q", what, a.stream)
	}
}

// TestNames_StreamIs1To512BytesOfUTF8: '/' welcome, and whatever else there is.
func (s *Suite) TestNames_StreamIs1To512BytesOfUTF8(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		bucket := s.bucket(t, nil)
		for _, name := range []string{
			"a", "a/b/c", "/", "//", "a%2Fb", "%", "...", "a/../b", "./x", "tail", "config", "ü/日本/😀", " ", "a b+c", "q?x=1#y", "a&b;c",
			"line\nbreak", "{stream}", "a:b", "*", strings.Repeat("x", 512), strings.Repeat("é", 256),
		} {
			a := &at{door: d, bucket: bucket, stream: name}
			a.create(t, nil)
			require.Zero(t, a.fill(t, name).GetStartSeqNum(), "%q", name)
			require.Equal(t, []string{name}, bodies(a.read(t, &samsav1.ReadRequest{}).GetBatch().GetRecords()), "%q", name)
			require.EqualValues(t, 1, a.tail(t).GetNextSeqNum(), "%q", name)
		}
	})
}

// TestNames_MalformedStreamIsRefusedEverywhere: not "." or "..", no NUL, no more
// than 512 bytes.
func (s *Suite) TestNames_MalformedStreamIsRefusedEverywhere(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		bucket := s.bucket(t, &samsav1.BucketConfig{CreateStreamOnAppend: new(true), CreateStreamOnRead: new(true)})
		names := []string{".", "..", "a\x00b", strings.Repeat("x", 513), strings.Repeat("é", 256) + "x"}
		if d == s.grpc {
			names = append(names, "") // in a path it names no stream
		}
		for _, name := range names {
			s.refusedForStream(t, &at{door: d, bucket: bucket, stream: name}, "stream")
		}
		list, err := d.ListStreams(call(t), &samsav1.ListStreamsRequest{Bucket: bucket})
		require.NoError(t, err)
		require.Empty(t, list.GetStreams())
	})
}

// TestNames_AccessTokenIDIs1To96Bytes also tells that a refused token is not made.
func (s *Suite) TestNames_AccessTokenIDIs1To96Bytes(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		prefix := s.unique()
		issue := func(id string) error {
			_, err := d.IssueAccessToken(call(t), &samsav1.IssueAccessTokenRequest{Info: &samsav1.AccessTokenInfo{Id: id, Scope: readScope()}})
			return err
		}
		longest := prefix + strings.Repeat("x", 96-len(prefix))
		require.NoError(t, issue(longest))
		requireFailure(t, invalid, issue(longest+"x"))
		requireFailure(t, invalid, issue(""))
		list, err := d.ListAccessTokens(call(t), &samsav1.ListAccessTokensRequest{Prefix: prefix})
		require.NoError(t, err)
		require.Len(t, list.GetAccessTokens(), 1)
	})
}

// TestNames_FencingTokenIsAtMost36Bytes, in the request and in the fence command.
func (s *Suite) TestNames_FencingTokenIsAtMost36Bytes(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		unchanged := a.unchanged(t)
		long := strings.Repeat("x", 37)
		_, err := a.try(t, &samsav1.AppendRequest{Records: records("x"), FencingToken: &long})
		require.Equal(t, "fencing_token", requireFailure(t, invalid, err).GetField())
		_, err = a.try(t, &samsav1.AppendRequest{Records: command("fence", []byte(long))})
		requireFailure(t, invalid, err)
		unchanged()
		a.append(t, &samsav1.AppendRequest{Records: command("fence", []byte(long[:36]))})
		a.append(t, &samsav1.AppendRequest{Records: records("x"), FencingToken: new(long[:36])})
	})
}

// TestNames_ProducerIDIsAtMost36Bytes, is not empty, and comes with a count.
func (s *Suite) TestNames_ProducerIDIsAtMost36Bytes(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		unchanged := a.unchanged(t)
		for _, r := range []*samsav1.AppendRequest{
			{ProducerId: new(strings.Repeat("x", 37)), ProducerSeq: new(uint64(0))},
			{ProducerId: new(""), ProducerSeq: new(uint64(0))},
			{ProducerId: new("p")},
			{ProducerSeq: new(uint64(0))},
		} {
			r.Records = records("x")
			_, err := a.try(t, r)
			requireFailure(t, invalid, err)
		}
		unchanged()
		a.append(t, &samsav1.AppendRequest{Records: records("x"), ProducerId: new(strings.Repeat("x", 36)), ProducerSeq: new(uint64(0))})
	})
}

// TestLimits_BatchHas1To1000Records.
func (s *Suite) TestLimits_BatchHas1To1000Records(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		unchanged := a.unchanged(t)
		_, err := a.try(t, &samsav1.AppendRequest{})
		require.Equal(t, "records", requireFailure(t, invalid, err).GetField())
		_, err = a.try(t, &samsav1.AppendRequest{Records: records(make([]string, 1001)...)})
		require.Equal(t, "records", requireFailure(t, invalid, err).GetField())
		unchanged()
		require.EqualValues(t, 1000, a.fill(t, make([]string, 1000)...).GetEndSeqNum())
	})
}

// TestLimits_BatchHasAtMost1MiBMetered: a record counts 8 + 2 × headers + names +
// values + body.
func (s *Suite) TestLimits_BatchHasAtMost1MiBMetered(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		header := []*samsav1.Header{{Name: []byte("name"), Value: []byte("value")}, {Name: []byte("n")}}
		full := &samsav1.AppendRecord{Headers: header, Body: make([]byte, 1<<20-(8+2*2+4+5+1)-(8+3))}
		small := &samsav1.AppendRecord{Body: []byte("abc")}
		large := &samsav1.AppendRecord{Body: []byte("abcd")}
		unchanged := a.unchanged(t)
		_, err := a.try(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{full, large}})
		require.Equal(t, "records", requireFailure(t, invalid, err).GetField())
		unchanged()
		a.append(t, &samsav1.AppendRequest{Records: []*samsav1.AppendRecord{full, small}})
		got := a.all(t)
		require.Len(t, got, 2)
		require.Len(t, got[0].GetBody(), len(full.GetBody()))
		require.Equal(t, "value", string(got[0].GetHeaders()[0].GetValue()))
	})
}

// TestLimits_HeadersAndBodiesAreAnyBytes: they come back as they went in.
func (s *Suite) TestLimits_HeadersAndBodiesAreAnyBytes(t *testing.T) {
	s.each(t, func(t *testing.T, d *door) {
		a := s.stream(t, d, nil)
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		var want []*samsav1.AppendRecord
		for i := range 5 {
			r := &samsav1.AppendRecord{Body: every[:i*51]}
			for j := range i {
				r.Headers = append(r.Headers, &samsav1.Header{Name: fmt.Appendf(nil, "%d\xff", j), Value: every[j:]})
			}
			want = append(want, r)
		}
		a.append(t, &samsav1.AppendRequest{Records: want})
		for i, got := range a.all(t) {
			require.Equal(t, string(want[i].GetBody()), string(got.GetBody()))
			require.Len(t, got.GetHeaders(), len(want[i].GetHeaders()))
			for j, h := range got.GetHeaders() {
				require.Equal(t, string(want[i].GetHeaders()[j].GetName()), string(h.GetName()))
				require.Equal(t, string(want[i].GetHeaders()[j].GetValue()), string(h.GetValue()))
			}
		}
	})
}
