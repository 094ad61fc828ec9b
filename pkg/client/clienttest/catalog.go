package clienttest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/stream"
)

type bucket struct {
	info    *samsav1.BucketInfo
	config  *samsav1.BucketConfig
	streams map[string]*log
}

type account struct {
	samsav1.UnimplementedAccountServiceServer
	s *Server
}

type bucketService struct {
	samsav1.UnimplementedBucketServiceServer
	s *Server
}

func nowMillis() uint64 { return uint64(time.Now().UnixMilli()) }

// page cuts a list as the API's lists are cut.
func page[T any](items []T, name func(T) string, prefix, after string, limit *uint64) ([]T, bool) {
	slices.SortFunc(items, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	items = slices.DeleteFunc(items, func(i T) bool { return !strings.HasPrefix(name(i), prefix) || name(i) <= after })
	most := 1000
	if limit != nil && *limit > 0 && *limit < 1000 {
		most = int(*limit)
	}
	if len(items) > most {
		return items[:most], true
	}
	return items, false
}

func (a account) ListBuckets(_ context.Context, r *samsav1.ListBucketsRequest) (*samsav1.ListBucketsResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	var infos []*samsav1.BucketInfo
	for _, b := range a.s.buckets {
		infos = append(infos, b.info)
	}
	infos, more := page(infos, (*samsav1.BucketInfo).GetName, r.GetPrefix(), r.GetStartAfter(), r.Limit)
	return &samsav1.ListBucketsResponse{Buckets: infos, HasMore: more}, nil
}

func (a account) CreateBucket(_ context.Context, r *samsav1.CreateBucketRequest) (*samsav1.CreateBucketResponse, error) {
	if err := stream.CheckBucketName(r.GetBucket()); err != nil {
		return nil, invalid("bucket", "%v", err)
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.buckets[r.GetBucket()] != nil {
		return nil, exists("bucket %q exists", r.GetBucket())
	}
	config := &samsav1.BucketConfig{DefaultStreamConfig: systemDefault(), CreateStreamOnAppend: new(false), CreateStreamOnRead: new(false)}
	if r.GetConfig() != nil {
		proto.Merge(config, r.GetConfig())
	}
	b := &bucket{
		info:   &samsav1.BucketInfo{Name: r.GetBucket(), State: samsav1.BucketState_BUCKET_STATE_ACTIVE, CreatedAt: nowMillis()},
		config: config, streams: map[string]*log{},
	}
	a.s.buckets[r.GetBucket()] = b
	return &samsav1.CreateBucketResponse{Info: b.info}, nil
}

func systemDefault() *samsav1.StreamConfig {
	return &samsav1.StreamConfig{
		StorageClass:          samsav1.StorageClass_STORAGE_CLASS_STANDARD,
		RetentionAgeSeconds:   new(uint64(7 * 24 * 3600)),
		TimestampingMode:      samsav1.TimestampingMode_TIMESTAMPING_MODE_CLIENT_PREFER,
		AllowFutureTimestamps: new(false), DeleteOnEmptyMinAgeSeconds: new(uint64(0)),
	}
}

func (a account) DeleteBucket(_ context.Context, r *samsav1.DeleteBucketRequest) (*samsav1.DeleteBucketResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if _, err := a.s.bucket(r.GetBucket()); err != nil {
		return nil, err
	}
	delete(a.s.buckets, r.GetBucket())
	return &samsav1.DeleteBucketResponse{}, nil
}

func (a account) GetBucketConfig(_ context.Context, r *samsav1.GetBucketConfigRequest) (*samsav1.GetBucketConfigResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	b, err := a.s.bucket(r.GetBucket())
	if err != nil {
		return nil, err
	}
	return &samsav1.GetBucketConfigResponse{Config: proto.Clone(b.config).(*samsav1.BucketConfig)}, nil
}

func (a account) ReconfigureBucket(_ context.Context, r *samsav1.ReconfigureBucketRequest) (*samsav1.ReconfigureBucketResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	b, err := a.s.bucket(r.GetBucket())
	if err != nil {
		return nil, err
	}
	if err := reconfigure(b.config, r.GetConfig(), r.GetMask()); err != nil {
		return nil, err
	}
	return &samsav1.ReconfigureBucketResponse{Config: proto.Clone(b.config).(*samsav1.BucketConfig)}, nil
}

// reconfigure copies the masked fields, all of which must be set, or without a
// mask those that are.
func reconfigure(config, change proto.Message, mask *fieldmaskpb.FieldMask) error {
	if len(mask.GetPaths()) > 0 {
		if !mask.IsValid(change) {
			return invalid("mask", "mask %v: unknown path", mask.GetPaths())
		}
	}
	proto.Merge(config, change)
	return nil
}

// bucket finds a bucket. Call with mu held, as all that follow.
func (s *Server) bucket(name string) (*bucket, error) {
	if err := stream.CheckBucketName(name); err != nil {
		return nil, invalid("bucket", "%v", err)
	}
	if b := s.buckets[name]; b != nil {
		return b, nil
	}
	return nil, notFound("bucket %q not found", name)
}

func (a account) IssueAccessToken(_ context.Context, r *samsav1.IssueAccessTokenRequest) (*samsav1.IssueAccessTokenResponse, error) {
	id := r.GetInfo().GetId()
	if err := stream.CheckAccessTokenID(id); err != nil {
		return nil, invalid("info.id", "%v", err)
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.tokens[id] != nil {
		return nil, exists("access token %q exists", id)
	}
	a.s.tokens[id] = r.GetInfo()
	return &samsav1.IssueAccessTokenResponse{AccessToken: "secret-of-" + id}, nil
}

func (a account) RevokeAccessToken(_ context.Context, r *samsav1.RevokeAccessTokenRequest) (*samsav1.RevokeAccessTokenResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	info := a.s.tokens[r.GetId()]
	if info == nil {
		return nil, notFound("access token %q not found", r.GetId())
	}
	delete(a.s.tokens, r.GetId())
	return &samsav1.RevokeAccessTokenResponse{Info: info}, nil
}

func (a account) ListAccessTokens(_ context.Context, r *samsav1.ListAccessTokensRequest) (*samsav1.ListAccessTokensResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	infos := slices.Collect(maps.Values(a.s.tokens))
	infos, more := page(infos, (*samsav1.AccessTokenInfo).GetId, r.GetPrefix(), r.GetStartAfter(), r.Limit)
	return &samsav1.ListAccessTokensResponse{AccessTokens: infos, HasMore: more}, nil
}

func (b bucketService) ListStreams(_ context.Context, r *samsav1.ListStreamsRequest) (*samsav1.ListStreamsResponse, error) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	in, err := b.s.bucket(r.GetBucket())
	if err != nil {
		return nil, err
	}
	var infos []*samsav1.StreamInfo
	for _, l := range in.streams {
		infos = append(infos, l.info)
	}
	infos, more := page(infos, (*samsav1.StreamInfo).GetName, r.GetPrefix(), r.GetStartAfter(), r.Limit)
	return &samsav1.ListStreamsResponse{Streams: infos, HasMore: more}, nil
}

func (b bucketService) CreateStream(_ context.Context, r *samsav1.CreateStreamRequest) (*samsav1.CreateStreamResponse, error) {
	if err := stream.CheckStreamName(r.GetStream()); err != nil {
		return nil, invalid("stream", "%v", err)
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	in, err := b.s.bucket(r.GetBucket())
	if err != nil {
		return nil, err
	}
	if in.streams[r.GetStream()] != nil {
		return nil, exists("stream %q exists", r.GetStream())
	}
	return &samsav1.CreateStreamResponse{Info: in.create(r.GetStream(), r.GetConfig()).info}, nil
}

func (b *bucket) create(name string, config *samsav1.StreamConfig) *log {
	resolved := proto.Clone(b.config.GetDefaultStreamConfig()).(*samsav1.StreamConfig)
	if config != nil {
		proto.Merge(resolved, config)
	}
	b.streams[name] = newLog(name, resolved)
	return b.streams[name]
}

func (b bucketService) DeleteStream(_ context.Context, r *samsav1.DeleteStreamRequest) (*samsav1.DeleteStreamResponse, error) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	in, _, err := b.s.log(r.GetBucket(), r.GetStream())
	if err != nil {
		return nil, err
	}
	delete(in.streams, r.GetStream())
	return &samsav1.DeleteStreamResponse{}, nil
}

func (b bucketService) GetStreamConfig(_ context.Context, r *samsav1.GetStreamConfigRequest) (*samsav1.GetStreamConfigResponse, error) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	_, l, err := b.s.log(r.GetBucket(), r.GetStream())
	if err != nil {
		return nil, err
	}
	return &samsav1.GetStreamConfigResponse{Config: proto.Clone(l.config).(*samsav1.StreamConfig)}, nil
}

func (b bucketService) ReconfigureStream(_ context.Context, r *samsav1.ReconfigureStreamRequest) (*samsav1.ReconfigureStreamResponse, error) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	_, l, err := b.s.log(r.GetBucket(), r.GetStream())
	if err != nil {
		return nil, err
	}
	if err := reconfigure(l.config, r.GetConfig(), r.GetMask()); err != nil {
		return nil, err
	}
	return &samsav1.ReconfigureStreamResponse{Config: proto.Clone(l.config).(*samsav1.StreamConfig)}, nil
}

// log finds a stream.
func (s *Server) log(bucketName, name string) (*bucket, *log, error) {
	b, err := s.bucket(bucketName)
	if err != nil {
		return nil, nil, err
	}
	if err := stream.CheckStreamName(name); err != nil {
		return nil, nil, invalid("stream", "%v", err)
	}
	if l := b.streams[name]; l != nil {
		return b, l, nil
	}
	return b, nil, notFound("stream %s not found", fmt.Sprintf("%q", name))
}
