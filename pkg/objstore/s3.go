package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// S3 is a store in a bucket of S3 or a server like it, below a prefix.
type S3 struct {
	client *s3.Client
	idle   interface{ CloseIdleConnections() }
	bucket string
	prefix string // "" or with a slash at its end
	put    func(*s3.Options)
}

// Close gives up the idle connections.
func (s *S3) Close() error {
	s.idle.CloseIdleConnections()
	return nil
}

// PutIfAbsent implements [Store] with If-None-Match. It is sent once: a repeat
// by the SDK would answer ErrExists to the very put that created the object. (Go's
// own HTTP transport repeats a PUT only if nothing of it was sent.)
func (s *S3) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if err := ready(ctx, key); err != nil {
		return opError(OpPut, key, err)
	}
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:        &s.bucket,
		Key:           s.key(key),
		Body:          bytes.NewReader(body),
		ContentLength: aws.Int64(int64(len(body))),
		IfNoneMatch:   aws.String("*"),
	}, s.put)
	if err = translate(ctx, err); isNotFound(err) {
		err = fmt.Errorf("%w: %w", ErrRefused, err) // nothing to put into
	}
	return opError(OpPut, key, err)
}

// Get implements [Store].
func (s *S3) Get(ctx context.Context, key string, r Range) (Object, error) {
	object, err := s.get(ctx, key, r)
	return object, opError(OpGet, key, err)
}

func (s *S3) get(ctx context.Context, key string, r Range) (Object, error) {
	if err := ready(ctx, key); err != nil {
		return Object{}, err
	}
	header, ok := r.header()
	if !ok {
		return s.getNothing(ctx, key)
	}
	input := &s3.GetObjectInput{Bucket: &s.bucket, Key: s.key(key)}
	if header != "" {
		input.Range = &header
	}
	out, err := s.client.GetObject(ctx, input)
	if status(err) == http.StatusRequestedRangeNotSatisfiable {
		return s.getNothing(ctx, key)
	}
	if err != nil {
		return Object{}, translate(ctx, err)
	}
	defer out.Body.Close()
	return received(key, r, out)
}

// getNothing answers for a range that has no byte of the object in it.
func (s *S3) getNothing(ctx context.Context, key string) (Object, error) {
	info, err := s.head(ctx, key)
	return Object{Info: info, Body: []byte{}}, err
}

func received(key string, r Range, out *s3.GetObjectOutput) (Object, error) {
	if out.ContentLength == nil {
		return Object{}, fmt.Errorf("%w: the answer has no Content-Length", ErrRefused)
	}
	length := *out.ContentLength
	body := make([]byte, length)
	if _, err := io.ReadFull(out.Body, body); err != nil {
		return Object{}, fmt.Errorf("body of %d bytes: %w", length, err)
	}
	info := Info{Key: key, Size: length, Modified: aws.ToTime(out.LastModified), Date: dateOf(out.ResultMetadata)}
	if out.ContentRange == nil {
		// The whole object; a server may ignore the range it was asked for.
		from, to := r.within(length)
		return Object{Info: info, Body: body[from:to]}, nil
	}
	size, err := sizeOf(*out.ContentRange, r, length)
	info.Size = size
	return Object{Info: info, Body: body}, err
}

// sizeOf reads the object's size from "bytes 0-9/100" and checks that the part
// is the one that r names.
func sizeOf(contentRange string, r Range, length int64) (int64, error) {
	spans, total, _ := strings.Cut(strings.TrimPrefix(contentRange, "bytes "), "/")
	first, _, _ := strings.Cut(spans, "-")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("Content-Range %q of the answer: %w", contentRange, err)
	}
	from, to := r.within(size)
	if first != strconv.FormatInt(from, 10) || to-from != length {
		return 0, fmt.Errorf("asked for bytes %d to %d, the answer has Content-Range %q and %d bytes", from, to, contentRange, length)
	}
	return size, nil
}

// Head implements [Store].
func (s *S3) Head(ctx context.Context, key string) (Info, error) {
	if err := ready(ctx, key); err != nil {
		return Info{}, opError(OpHead, key, err)
	}
	info, err := s.head(ctx, key)
	return info, opError(OpHead, key, err)
}

func (s *S3) head(ctx context.Context, key string) (Info, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.key(key)})
	if err != nil {
		return Info{}, translate(ctx, err)
	}
	return Info{
		Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified), Date: dateOf(out.ResultMetadata),
	}, nil
}

// dateOf is the answer's Date header.
func dateOf(answer middleware.Metadata) time.Time {
	date, _ := awsmiddleware.GetServerTime(answer)
	return date
}

// Delete implements [Store].
func (s *S3) Delete(ctx context.Context, key string) error {
	if err := ready(ctx, key); err != nil {
		return opError(OpDelete, key, err)
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.key(key)})
	if err = translate(ctx, err); isNotFound(err) {
		return nil
	}
	return opError(OpDelete, key, err)
}

// List implements [Store], a page of at most 1000 keys at a time.
func (s *S3) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		last := startAfter
		for page, err := range s.pages(ctx, prefix, startAfter) {
			if err != nil {
				yield(Info{}, opError(OpList, prefix, err))
				return
			}
			for _, object := range page {
				info := s.info(object)
				if err := inOrder(last, info.Key); err != nil {
					yield(Info{}, opError(OpList, prefix, err))
					return
				}
				last = info.Key
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

func (s *S3) pages(ctx context.Context, prefix, startAfter string) iter.Seq2[[]types.Object, error] {
	input := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: s.key(prefix)}
	if startAfter != "" {
		input.StartAfter = s.key(startAfter)
	}
	pager := s3.NewListObjectsV2Paginator(s.client, input)
	return func(yield func([]types.Object, error) bool) {
		for pager.HasMorePages() {
			page, err := pager.NextPage(ctx)
			if err != nil {
				yield(nil, translate(ctx, err))
				return
			}
			if !yield(page.Contents, nil) {
				return
			}
		}
	}
}

// inOrder refuses what directory buckets do: list in an order of their own.
func inOrder(last, key string) error {
	if key > last {
		return nil
	}
	return fmt.Errorf("%w: it lists %q after %q, not in the order of keys", ErrRefused, key, last)
}

func (s *S3) info(object types.Object) Info {
	return Info{
		Key:      strings.TrimPrefix(aws.ToString(object.Key), s.prefix),
		Size:     aws.ToInt64(object.Size),
		Modified: aws.ToTime(object.LastModified),
	}
}

func (s *S3) key(key string) *string { return aws.String(s.prefix + key) }

// translate turns what the SDK says into this package's words.
func translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if meaning := meaningOf(err); meaning != nil {
		return fmt.Errorf("%w: %w", meaning, err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// meaningOf gives nil for answers that are worth another attempt, or tell nothing.
func meaningOf(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "NoSuchBucket" {
		return ErrRefused
	}
	switch status(err) {
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusConflict:
		return ErrConflict
	case http.StatusPreconditionFailed:
		return ErrExists
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented,
		http.StatusMovedPermanently, http.StatusPermanentRedirect, http.StatusRequestEntityTooLarge:
		return ErrRefused
	}
	return nil
}

// status is the HTTP status of the answer that err is about; 0: there was none.
func status(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}
