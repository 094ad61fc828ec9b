package auth

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"pgregory.net/rapid"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
)

func TestRules_CoverEveryMethodAndNothingElse(t *testing.T) {
	methods, err := newTable(services(), rules())
	require.NoError(t, err)
	require.Len(t, methods, len(rules()))
}

// Every operation has an RPC, or is a command: one that nothing asks for would be
// granted in vain.
func TestRules_UseEveryOperation(t *testing.T) {
	used := map[samsav1.Operation]bool{samsav1.Operation_OPERATION_UNSPECIFIED: true,
		samsav1.Operation_OPERATION_TRIM: true, samsav1.Operation_OPERATION_FENCE: true}
	for _, r := range rules() {
		used[r.operation] = true
	}
	for number, name := range samsav1.Operation_name {
		require.True(t, used[samsav1.Operation(number)], name)
		require.Less(t, number, int32(64), "the set of operations has 64 bits")
	}
}

func TestNewTable_RefusesWhatDoesNotFit(t *testing.T) {
	file := protodesc.ToFileDescriptorProto(samsav1.File_samsa_v1_stream_proto)
	file.Service[0].Method = append(file.Service[0].Method, &descriptorpb.MethodDescriptorProto{
		Name: proto.String("Rewind"), InputType: proto.String(".samsa.v1.ReadRequest"), OutputType: proto.String(".samsa.v1.ReadResponse"),
	})
	d, err := protodesc.NewFile(file, nil)
	require.NoError(t, err)
	streams := []protoreflect.ServiceDescriptor{d.Services().Get(0)}
	const rewind = "samsa.v1.StreamService.Rewind"
	with := func(r rule) map[protoreflect.FullName]rule {
		all := map[protoreflect.FullName]rule{rewind: r}
		for name, each := range rules() {
			if name.Parent() == "samsa.v1.StreamService" {
				all[name] = each
			}
		}
		return all
	}
	good := rule{operation: samsav1.Operation_OPERATION_READ, bucket: "bucket", stream: "stream", callers: []string{"router"}, server: "stream-reader"}
	_, err = newTable(streams, with(good))
	require.NoError(t, err)

	none := with(good)
	delete(none, rewind)
	_, err = newTable(streams, none)
	require.ErrorContains(t, err, rewind+" has no access rule")
	for want, change := range map[string]func(*rule){
		"has a field stream that its access rule does not name": func(r *rule) { r.stream = "" },
		"has a field bucket that its access rule does not name": func(r *rule) { r.bucket = "" },
		"has no single field nothing":                           func(r *rule) { r.accessToken = "nothing" },
		"is no string":                                          func(r *rule) { r.accessToken = "limit" },
		"names no role that may call it":                        func(r *rule) { r.callers = nil },
		"names no role that answers it":                         func(r *rule) { r.server = "" },
	} {
		changed := good
		change(&changed)
		_, err = newTable(streams, with(changed))
		require.ErrorContains(t, err, want)
	}
	more := with(good)
	more["samsa.v1.StreamService.Gone"] = good
	_, err = newTable(streams, more)
	require.ErrorContains(t, err, "samsa.v1.StreamService.Gone has no method")
}

func TestCovers_RefusesAServerWithAMethodWithoutARule(t *testing.T) {
	g, err := NewGuard(GuardConfig{})
	require.NoError(t, err)
	s := grpc.NewServer()
	samsav1.RegisterStreamServiceServer(s, samsav1.UnimplementedStreamServiceServer{})
	require.NoError(t, g.Covers(s))
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "samsa.v1.Other", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Do"}}}, nil)
	require.ErrorContains(t, g.Covers(s), "samsa.v1.Other.Do has no access rule")
}

func drawNames(t *rapid.T, label string) names {
	kind := rapid.SampledFrom([]setKind{noNames, oneName, allWithPrefix}).Draw(t, label+" kind")
	if kind == noNames {
		return names{}
	}
	return names{kind, rapid.StringMatching("[ab]{0,3}").Draw(t, label)}
}

// within and narrow are compared with has on every short name.
func TestNames_SubsetsAndPagesAgreeWithMembership(t *testing.T) {
	var all []string
	for _, a := range []string{"", "a", "b"} {
		for _, b := range []string{"", "a", "b"} {
			for _, c := range []string{"a", "b"} {
				for _, d := range []string{"", "a", "b", "c"} {
					all = append(all, a+b+c+d)
				}
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n, other := drawNames(t, "n"), drawNames(t, "other")
		page := catalog.Page{Prefix: rapid.StringMatching("[ab]{0,3}").Draw(t, "page")}
		narrowed, some := n.narrow(page)
		subset := n.within(other)
		for _, name := range all {
			if subset && n.has(name) {
				require.True(t, other.has(name), "%v within %v: %q", n, other, name)
			}
			listed := some && names{allWithPrefix, narrowed.Prefix}.has(name) && (narrowed.Only == nil || *narrowed.Only == name)
			require.Equal(t, n.has(name) && names{allWithPrefix, page.Prefix}.has(name), listed, "%v of %v: %q", n, page, name)
		}
		if !subset && n.kind != noNames {
			require.False(t, other.has(n.text) && (n.kind == oneName || other.has(n.text+"c") && other.has(n.text+"ab")), "%v not within %v", n, other)
		}
	})
}

func TestNamesOf_EmptyNameIsNobodys(t *testing.T) {
	require.False(t, namesOf(exact("")).has(""))
	require.False(t, namesOf(nil).has("a"))
	require.True(t, namesOf(prefix("")).has("a"))
}

func FuzzPeek(f *testing.F) {
	info := &samsav1.AccessTokenInfo{Id: "a", Scope: &samsav1.AccessTokenScope{Buckets: exact("b")}}
	valid, err := proto.Marshal(&samsav1.IssueAccessTokenRequest{Info: info})
	require.NoError(f, err)
	f.Add(valid)
	f.Add(append(valid, valid...))
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 9))
	methods, err := newTable(services(), rules())
	require.NoError(f, err)
	path := methods[samsav1.AccountService_IssueAccessToken_FullMethodName].accessTokenPath
	f.Fuzz(func(t *testing.T, message []byte) {
		found := make([]string, 1)
		ok := peek(message, [][]protoreflect.FieldNumber{path}, found)
		whole := new(samsav1.IssueAccessTokenRequest)
		if proto.Unmarshal(message, whole) == nil && ok {
			require.Equal(t, whole.GetInfo().GetId(), found[0])
		}
	})
}
