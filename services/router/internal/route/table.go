package route

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// Target says how the backend of a call is found.
type Target uint8

const (
	// AnyMember is any living member of the rule's role.
	AnyMember Target = iota + 1
	// ShardOwner is the stream-writer that owns the stream's shard.
	ShardOwner
	// StreamReader is the stream-reader that holds the stream's caches.
	StreamReader
)

// Roles, as services register them for discovery.
const (
	RoleAccount      = "account"
	RoleBucket       = "bucket"
	RoleStreamReader = "stream-reader"
	RoleStreamWriter = "stream-writer"
)

// Rule is what has to be said about an RPC by hand.
type Rule struct {
	Target Target
	// Role is who answers it.
	Role string
	// Changes: the call has an effect, so it is sent again only if nothing can
	// have happened.
	Changes bool
}

// Method is an RPC and its rule.
type Method struct {
	Rule
	// FullName is as in a gRPC path: /samsa.v1.StreamService/Append.
	FullName string
	// ClientStreams and ServerStreams say which sides send many messages.
	ClientStreams, ServerStreams bool
}

// Table holds the methods by full name.
type Table map[string]Method

// rules has one rule for each RPC.
func rules() map[protoreflect.FullName]Rule {
	var (
		readAccount   = Rule{Target: AnyMember, Role: RoleAccount}
		changeAccount = Rule{Target: AnyMember, Role: RoleAccount, Changes: true}
		readBucket    = Rule{Target: AnyMember, Role: RoleBucket}
		changeBucket  = Rule{Target: AnyMember, Role: RoleBucket, Changes: true}
		askOwner      = Rule{Target: ShardOwner, Role: RoleStreamWriter}
		appendToOwner = Rule{Target: ShardOwner, Role: RoleStreamWriter, Changes: true}
		askReader     = Rule{Target: StreamReader, Role: RoleStreamReader}
	)
	return map[protoreflect.FullName]Rule{
		"samsa.v1.AccountService.ListBuckets":       readAccount,
		"samsa.v1.AccountService.CreateBucket":      changeAccount,
		"samsa.v1.AccountService.DeleteBucket":      changeAccount,
		"samsa.v1.AccountService.ReconfigureBucket": changeAccount,
		"samsa.v1.AccountService.GetBucketConfig":   readAccount,
		"samsa.v1.AccountService.IssueAccessToken":  changeAccount,
		"samsa.v1.AccountService.RevokeAccessToken": changeAccount,
		"samsa.v1.AccountService.ListAccessTokens":  readAccount,
		"samsa.v1.BucketService.ListStreams":        readBucket,
		"samsa.v1.BucketService.CreateStream":       changeBucket,
		"samsa.v1.BucketService.DeleteStream":       changeBucket,
		"samsa.v1.BucketService.GetStreamConfig":    readBucket,
		"samsa.v1.BucketService.ReconfigureStream":  changeBucket,
		"samsa.v1.StreamService.CheckTail":          askOwner,
		"samsa.v1.StreamService.Append":             appendToOwner,
		"samsa.v1.StreamService.AppendSession":      appendToOwner,
		"samsa.v1.StreamService.Read":               askReader,
		"samsa.v1.StreamService.ReadSession":        askReader,
	}
}

// Services are the proxied services.
func Services() []protoreflect.ServiceDescriptor {
	var services []protoreflect.ServiceDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		samsav1.File_samsa_v1_account_proto,
		samsav1.File_samsa_v1_bucket_proto,
		samsav1.File_samsa_v1_stream_proto,
	} {
		for i := range file.Services().Len() {
			services = append(services, file.Services().Get(i))
		}
	}
	return services
}

// NewTable lists the methods of the services. It fails if one has no rule.
func NewTable(services ...protoreflect.ServiceDescriptor) (Table, error) {
	table, ruled := Table{}, rules()
	for _, service := range services {
		for i := range service.Methods().Len() {
			method := service.Methods().Get(i)
			rule, ok := ruled[method.FullName()]
			if !ok {
				return nil, fmt.Errorf("%s has no routing rule: add it to the rules of package route", method.FullName())
			}
			name := fmt.Sprintf("/%s/%s", service.FullName(), method.Name())
			table[name] = Method{
				Rule:          rule,
				FullName:      name,
				ClientStreams: method.IsStreamingClient(),
				ServerStreams: method.IsStreamingServer(),
			}
		}
	}
	return table, nil
}
