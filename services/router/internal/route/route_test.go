package route

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

func TestTable_HasARuleForEveryMethodAndNoRuleWithoutOne(t *testing.T) {
	table, err := NewTable(Services()...)
	require.NoError(t, err)
	require.Len(t, table, len(rules()), "a rule names no method")
}

func TestTable_RefusesAMethodWithoutARule(t *testing.T) {
	file := protodesc.ToFileDescriptorProto(samsav1.File_samsa_v1_stream_proto)
	file.Service[0].Method = append(file.Service[0].Method, &descriptorpb.MethodDescriptorProto{
		Name:       proto.String("Rewind"),
		InputType:  proto.String(".samsa.v1.ReadRequest"),
		OutputType: proto.String(".samsa.v1.ReadResponse"),
	})
	descriptor, err := protodesc.NewFile(file, nil)
	require.NoError(t, err)

	_, err = NewTable(descriptor.Services().Get(0))
	require.ErrorContains(t, err, "samsa.v1.StreamService.Rewind has no routing rule")
}

// The rules that matter for correctness are spelled out a second time.
func TestTable_RoutesByService(t *testing.T) {
	table, err := NewTable(Services()...)
	require.NoError(t, err)

	for name, method := range table {
		switch name {
		case "/samsa.v1.StreamService/Append", "/samsa.v1.StreamService/AppendSession":
			require.Equal(t, Rule{Target: ShardOwner, Role: "stream-writer", Changes: true}, method.Rule, name)
		case "/samsa.v1.StreamService/CheckTail":
			require.Equal(t, Rule{Target: ShardOwner, Role: "stream-writer"}, method.Rule, name)
		case "/samsa.v1.StreamService/Read", "/samsa.v1.StreamService/ReadSession":
			require.Equal(t, Rule{Target: StreamReader, Role: "stream-reader"}, method.Rule, name)
		default:
			require.Equal(t, AnyMember, method.Target, name)
		}
	}
	require.True(t, table["/samsa.v1.StreamService/AppendSession"].ClientStreams)
	require.True(t, table["/samsa.v1.StreamService/ReadSession"].ServerStreams)
	require.False(t, table["/samsa.v1.StreamService/ReadSession"].ClientStreams)
}

func TestStreamName_FindsTheNameInEveryStreamRequest(t *testing.T) {
	for _, message := range []proto.Message{
		&samsav1.AppendRequest{Bucket: "logs", Stream: "a/b", Records: []*samsav1.AppendRecord{{Body: []byte("x")}}},
		&samsav1.AppendSessionRequest{Bucket: "logs", Stream: "a/b", MatchSeqNum: proto.Uint64(7)},
		&samsav1.CheckTailRequest{Bucket: "logs", Stream: "a/b"},
		&samsav1.ReadRequest{Bucket: "logs", Stream: "a/b", Limit: &samsav1.ReadLimit{Count: proto.Uint64(1)}},
		&samsav1.ReadSessionRequest{Bucket: "logs", Stream: "a/b", Clamp: true},
	} {
		wire, err := proto.Marshal(message)
		require.NoError(t, err)
		name, err := StreamName(wire)
		require.NoError(t, err)
		require.Equal(t, stream.Name{Bucket: "logs", Stream: "a/b"}, name)
	}
}

func TestStreamName_TakesTheLastOfRepeatedFields(t *testing.T) {
	first, _ := proto.Marshal(&samsav1.ReadRequest{Bucket: "logs", Stream: "a"})
	second, _ := proto.Marshal(&samsav1.ReadRequest{Stream: "b"})
	name, err := StreamName(append(first, second...))
	require.NoError(t, err)
	require.Equal(t, stream.Name{Bucket: "logs", Stream: "b"}, name)
}

func TestStreamName_RefusesWhatItCannotRoute(t *testing.T) {
	valid, _ := proto.Marshal(&samsav1.ReadRequest{Bucket: "logs", Stream: "a"})
	for title, c := range map[string]struct {
		message []byte
		field   string
	}{
		"truncated":       {valid[:len(valid)-1], ""},
		"no tag":          {[]byte{0xff}, ""},
		"bucket a varint": {protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 9), ""},
		"empty":           {nil, "bucket"},
		"bad bucket":      {[]byte{0x0a, 3, 'A', 'B', 'C'}, "bucket"},
		"no stream":       {[]byte{0x0a, 3, 'a', 'b', 'c'}, "stream"},
		"not UTF-8":       {[]byte{0x0a, 3, 'a', 'b', 'c', 0x12, 1, 0xff}, "stream"},
	} {
		_, err := StreamName(c.message)
		var nameError *NameError
		require.ErrorAs(t, err, &nameError, title)
		require.Equal(t, c.field, nameError.Field, title)
	}
}

func FuzzStreamName(f *testing.F) {
	valid, _ := proto.Marshal(&samsav1.ReadRequest{Bucket: "logs", Stream: "a"})
	f.Add(valid)
	f.Fuzz(func(t *testing.T, message []byte) {
		name, err := StreamName(message)
		var whole samsav1.CheckTailRequest
		if proto.Unmarshal(message, &whole) != nil || err != nil {
			return
		}
		require.Equal(t, whole.GetBucket(), name.Bucket)
		require.Equal(t, whole.GetStream(), name.Stream)
	})
}
