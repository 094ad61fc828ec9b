package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
)

// rule is what has to be said about an RPC by hand.
type rule struct {
	// operation is what the caller's token must allow; UNSPECIFIED: no token is
	// looked at, the call is one between services.
	operation samsav1.Operation
	// bucket, stream and accessToken are the request's fields, as paths such as
	// info.id, that name the resource; "": it has none.
	bucket, stream, accessToken string
	// bucketInMetadata: older clients name the bucket in the call's metadata.
	bucketInMetadata bool
	// control: the audit log tells of it.
	control bool
	// live: it may take so long that the token ends meanwhile, and then ends too.
	live bool
	// appends: the records may be commands, which need more.
	appends bool
	// root: on a router the root token may call it, and nobody else anywhere. It has
	// no operation.
	root bool
	// callers are the roles whose certificates may call it.
	callers []string
	// server is the role that answers it, and must have the certificate of.
	server string
}

// method is an RPC with its rule and the field numbers for reading wire format.
type method struct {
	rule
	fullName                                  string
	bucketField, streamField, accessTokenPath []protoreflect.FieldNumber
}

// table holds the methods by full name, as in /samsa.v1.StreamService/Append.
type table map[string]*method

// rules has one rule for each RPC of samsa.v1 and samsa.cluster.v1.
func rules() map[protoreflect.FullName]rule {
	router := []string{discovery.RoleRouter}
	everyone := []string{discovery.RoleRouter, discovery.RoleAccount, discovery.RoleBucket,
		discovery.RoleStreamReader, discovery.RoleStreamWriter, discovery.RoleCompactor}
	buckets := func(op samsav1.Operation, changes bool) rule {
		return rule{operation: op, bucket: "bucket", control: changes, callers: router, server: discovery.RoleAccount}
	}
	streams := func(op samsav1.Operation, changes bool) rule {
		return rule{operation: op, bucket: "bucket", stream: "stream", bucketInMetadata: true, control: changes, callers: router, server: discovery.RoleBucket}
	}
	records := func(op samsav1.Operation, server string) rule {
		return rule{operation: op, bucket: "bucket", stream: "stream", callers: router, server: server}
	}
	appends := records(samsav1.Operation_OPERATION_APPEND, discovery.RoleStreamWriter)
	reads := records(samsav1.Operation_OPERATION_READ, discovery.RoleStreamReader)
	appends.appends, reads.live = true, true
	writers := func(callers ...string) rule { return rule{callers: callers, server: discovery.RoleStreamWriter} }
	operators := func(changes bool) rule { return rule{root: true, control: changes, server: discovery.RoleRouter} }
	return map[protoreflect.FullName]rule{
		"samsa.v1.AccountService.ListBuckets":       {operation: samsav1.Operation_OPERATION_LIST_BUCKETS, callers: router, server: discovery.RoleAccount},
		"samsa.v1.AccountService.CreateBucket":      buckets(samsav1.Operation_OPERATION_CREATE_BUCKET, true),
		"samsa.v1.AccountService.DeleteBucket":      buckets(samsav1.Operation_OPERATION_DELETE_BUCKET, true),
		"samsa.v1.AccountService.ReconfigureBucket": buckets(samsav1.Operation_OPERATION_RECONFIGURE_BUCKET, true),
		"samsa.v1.AccountService.GetBucketConfig":   buckets(samsav1.Operation_OPERATION_GET_BUCKET_CONFIG, false),
		"samsa.v1.AccountService.IssueAccessToken": {
			operation: samsav1.Operation_OPERATION_ISSUE_ACCESS_TOKEN, accessToken: "info.id", control: true, callers: router, server: discovery.RoleAccount},
		"samsa.v1.AccountService.RevokeAccessToken": {
			operation: samsav1.Operation_OPERATION_REVOKE_ACCESS_TOKEN, accessToken: "id", control: true, callers: router, server: discovery.RoleAccount},
		"samsa.v1.AccountService.ListAccessTokens": {operation: samsav1.Operation_OPERATION_LIST_ACCESS_TOKENS, callers: router, server: discovery.RoleAccount},

		"samsa.v1.BucketService.ListStreams": {
			operation: samsav1.Operation_OPERATION_LIST_STREAMS, bucket: "bucket", bucketInMetadata: true, callers: router, server: discovery.RoleBucket},
		"samsa.v1.BucketService.CreateStream":      streams(samsav1.Operation_OPERATION_CREATE_STREAM, true),
		"samsa.v1.BucketService.DeleteStream":      streams(samsav1.Operation_OPERATION_DELETE_STREAM, true),
		"samsa.v1.BucketService.GetStreamConfig":   streams(samsav1.Operation_OPERATION_GET_STREAM_CONFIG, false),
		"samsa.v1.BucketService.ReconfigureStream": streams(samsav1.Operation_OPERATION_RECONFIGURE_STREAM, true),

		"samsa.v1.StreamService.CheckTail":     records(samsav1.Operation_OPERATION_CHECK_TAIL, discovery.RoleStreamWriter),
		"samsa.v1.StreamService.Append":        appends,
		"samsa.v1.StreamService.AppendSession": appends,
		"samsa.v1.StreamService.Read":          reads,
		"samsa.v1.StreamService.ReadSession":   reads,

		"samsa.cluster.v1.WriterService.TakeShard":       writers(everyone...),
		"samsa.cluster.v1.WriterService.HandOverShard":   writers(discovery.RoleStreamWriter),
		"samsa.cluster.v1.WriterService.Locate":          writers(discovery.RoleStreamReader, discovery.RoleCompactor),
		"samsa.cluster.v1.WriterService.ConfigureStream": writers(discovery.RoleBucket),
		"samsa.cluster.v1.WriterService.TombstoneStream": writers(discovery.RoleBucket, discovery.RoleCompactor),
		"samsa.cluster.v1.WriterService.TombstoneBucket": writers(discovery.RoleAccount, discovery.RoleCompactor),
		"samsa.cluster.v1.WriterService.Describe":        writers(discovery.RoleRouter),
		"samsa.cluster.v1.WriterService.Drain":           writers(discovery.RoleRouter),

		"samsa.cluster.v1.AdminService.ListWriters": operators(false),
		"samsa.cluster.v1.AdminService.ListShards":  operators(false),
		"samsa.cluster.v1.AdminService.DrainWriter": operators(true),
	}
}

// services are the API and what the services ask of each other.
func services() []protoreflect.ServiceDescriptor {
	var all []protoreflect.ServiceDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		samsav1.File_samsa_v1_account_proto, samsav1.File_samsa_v1_bucket_proto, samsav1.File_samsa_v1_stream_proto,
		clusterv1.File_samsa_cluster_v1_writer_proto, clusterv1.File_samsa_cluster_v1_admin_proto,
	} {
		for i := range file.Services().Len() {
			all = append(all, file.Services().Get(i))
		}
	}
	return all
}

// newTable joins rules and descriptors. Every mistake is an error: a method without
// a rule, a rule without a method, a field that is not there, and a resource field
// that a rule passes over.
func newTable(services []protoreflect.ServiceDescriptor, rules map[protoreflect.FullName]rule) (table, error) {
	t, used := table{}, map[protoreflect.FullName]bool{}
	var errs []error
	for _, service := range services {
		for i := range service.Methods().Len() {
			d := service.Methods().Get(i)
			r, ok := rules[d.FullName()]
			if !ok {
				errs = append(errs, fmt.Errorf("%s has no access rule: add it to the rules of package auth", d.FullName()))
				continue
			}
			used[d.FullName()] = true
			m, err := newMethod(d, r)
			errs = append(errs, err)
			t[m.fullName] = m
		}
	}
	for name := range rules {
		if !used[name] {
			errs = append(errs, fmt.Errorf("the access rule for %s has no method", name))
		}
	}
	return t, errors.Join(errs...)
}

func newMethod(d protoreflect.MethodDescriptor, r rule) (*method, error) {
	m := &method{rule: r, fullName: fmt.Sprintf("/%s/%s", d.Parent().FullName(), d.Name())}
	var errs []error
	field := func(path string) []protoreflect.FieldNumber {
		numbers, err := fieldPath(d.Input(), path)
		errs = append(errs, err)
		return numbers
	}
	m.bucketField, m.streamField, m.accessTokenPath = field(r.bucket), field(r.stream), field(r.accessToken)
	if r.operation != samsav1.Operation_OPERATION_UNSPECIFIED {
		errs = append(errs, complete(d.Input(), "bucket", r.bucket), complete(d.Input(), "stream", r.stream))
	}
	if len(r.callers) == 0 && !r.root {
		errs = append(errs, fmt.Errorf("the access rule for %s names no role that may call it", d.FullName()))
	}
	if r.server == "" {
		errs = append(errs, fmt.Errorf("the access rule for %s names no role that answers it", d.FullName()))
	}
	return m, errors.Join(errs...)
}

// complete refuses a rule that passes over a field which names a resource.
func complete(d protoreflect.MessageDescriptor, name protoreflect.Name, path string) error {
	if path == "" && d.Fields().ByName(name) != nil {
		return fmt.Errorf("%s has a field %s that its access rule does not name", d.FullName(), name)
	}
	return nil
}

func fieldPath(d protoreflect.MessageDescriptor, path string) ([]protoreflect.FieldNumber, error) {
	if path == "" {
		return nil, nil
	}
	var numbers []protoreflect.FieldNumber
	for name := range strings.SplitSeq(path, ".") {
		if d == nil {
			return nil, fmt.Errorf("access rule: %s goes past a field that is no message", path)
		}
		f := d.Fields().ByName(protoreflect.Name(name))
		if f == nil || f.IsList() || f.IsMap() {
			return nil, fmt.Errorf("access rule: %s has no single field %s", d.FullName(), path)
		}
		numbers = append(numbers, f.Number())
		d = f.Message()
	}
	if d != nil {
		return nil, fmt.Errorf("access rule: the field %s is no string", path)
	}
	return numbers, nil
}

// isOpen names the services that everybody who gets a connection may call: they
// tell of the program and nothing of what it holds.
func isOpen(service string) bool {
	return slices.Contains([]string{
		"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
	}, service)
}

func serviceOf(fullMethod string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	return service
}

// covers refuses a server that has a method without a rule.
func (t table) covers(services map[string]grpc.ServiceInfo) error {
	var errs []error
	for name, info := range services {
		if isOpen(name) {
			continue
		}
		for _, m := range info.Methods {
			if t["/"+name+"/"+m.Name] == nil {
				errs = append(errs, fmt.Errorf("%s.%s has no access rule: add it to the rules of package auth", name, m.Name))
			}
		}
	}
	return errors.Join(errs...)
}
