package server

import (
	"context"
	"fmt"

	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
	"google.golang.org/grpc/metadata"
)

// bucketKey is where older clients put the bucket: into the call's metadata.
const bucketKey = "bucket"

// bucketOf is the bucket that a call names, in the request or in the metadata.
func bucketOf(ctx context.Context, r interface{ GetBucket() string }) (string, error) {
	bucket := r.GetBucket()
	for _, other := range metadata.ValueFromIncomingContext(ctx, bucketKey) {
		switch bucket {
		case "":
			bucket = other
		case other:
		default:
			return "", &settings.InvalidError{Field: "bucket",
				Problem: fmt.Sprintf("%.100q differs from %.100q in the call's metadata: give one of them", bucket, other)}
		}
	}
	return bucket, nil
}

// nameOf is the stream that a call names.
func nameOf(ctx context.Context, r interface {
	GetBucket() string
	GetStream() string
}) (stream.Name, error) {
	bucket, err := bucketOf(ctx, r)
	return stream.Name{Bucket: bucket, Stream: r.GetStream()}, err
}
