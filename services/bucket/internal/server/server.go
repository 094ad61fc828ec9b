// Package server is the gRPC face of the bucket service: it decodes, calls
// internal/bucket and encodes.
package server

import (
	"context"
	"time"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/services/bucket/internal/bucket"
)

// Server answers samsa.v1.BucketService.
type Server struct {
	samsav1.UnimplementedBucketServiceServer
	streams *bucket.Streams
}

// New makes a Server.
func New(s *bucket.Streams) *Server { return &Server{streams: s} }

// ListStreams lists a bucket's streams by name.
func (s *Server) ListStreams(ctx context.Context, r *samsav1.ListStreamsRequest) (*samsav1.ListStreamsResponse, error) {
	home, err := bucketOf(ctx, r)
	if err != nil {
		return nil, toStatus(err)
	}
	page, some := auth.StreamPage(ctx, catalog.Page{Prefix: r.GetPrefix(), StartAfter: r.GetStartAfter(), Limit: r.GetLimit()})
	if !some {
		return &samsav1.ListStreamsResponse{}, nil
	}
	streams, more, err := s.streams.List(ctx, home, page)
	if err != nil {
		return nil, toStatus(err)
	}
	response := &samsav1.ListStreamsResponse{HasMore: more}
	for _, stream := range streams {
		response.Streams = append(response.Streams, streamInfo(stream))
	}
	return response, nil
}

// CreateStream makes a stream.
func (s *Server) CreateStream(ctx context.Context, r *samsav1.CreateStreamRequest) (*samsav1.CreateStreamResponse, error) {
	name, err := nameOf(ctx, r)
	if err != nil {
		return nil, toStatus(err)
	}
	given, err := settings.StreamFromProto(r.GetConfig())
	if err != nil {
		return nil, toStatus(err)
	}
	created, err := s.streams.Create(ctx, name, given)
	if err != nil {
		return nil, toStatus(err)
	}
	return &samsav1.CreateStreamResponse{Info: streamInfo(created)}, nil
}

// DeleteStream ends a stream.
func (s *Server) DeleteStream(ctx context.Context, r *samsav1.DeleteStreamRequest) (*samsav1.DeleteStreamResponse, error) {
	name, err := nameOf(ctx, r)
	if err != nil {
		return nil, toStatus(err)
	}
	if err := s.streams.Delete(ctx, name); err != nil {
		return nil, toStatus(err)
	}
	return &samsav1.DeleteStreamResponse{}, nil
}

// GetStreamConfig tells a stream's configuration.
func (s *Server) GetStreamConfig(ctx context.Context, r *samsav1.GetStreamConfigRequest) (*samsav1.GetStreamConfigResponse, error) {
	name, err := nameOf(ctx, r)
	if err != nil {
		return nil, toStatus(err)
	}
	found, err := s.streams.Get(ctx, name)
	if err != nil {
		return nil, toStatus(err)
	}
	return &samsav1.GetStreamConfigResponse{Config: settings.ConfigProto(found.Config)}, nil
}

// ReconfigureStream changes a stream's configuration.
func (s *Server) ReconfigureStream(ctx context.Context, r *samsav1.ReconfigureStreamRequest) (*samsav1.ReconfigureStreamResponse, error) {
	name, err := nameOf(ctx, r)
	if err != nil {
		return nil, toStatus(err)
	}
	change, err := settings.NewStreamChange(r.GetConfig(), r.GetMask())
	if err != nil {
		return nil, toStatus(err)
	}
	changed, err := s.streams.Reconfigure(ctx, name, change)
	if err != nil {
		return nil, toStatus(err)
	}
	return &samsav1.ReconfigureStreamResponse{Config: settings.ConfigProto(changed.Config)}, nil
}

func streamInfo(s catalog.Stream) *samsav1.StreamInfo {
	info := &samsav1.StreamInfo{Name: s.Name.Stream, CreatedAt: millis(s.CreatedAt)}
	if s.State == catalog.StateDeleting {
		info.DeletedAt = new(millis(s.DeletedAt))
	}
	return info
}

func millis(t time.Time) uint64 { return uint64(t.UnixMilli()) }
