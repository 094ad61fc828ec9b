package route

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/samsa-io/samsa/pkg/stream"
)

// The fields that name the stream, in every request of StreamService.
const (
	bucketField = 1
	streamField = 2
)

// NameError says which field of a request keeps it from being routed. Field is
// empty if the message can't be read at all.
type NameError struct {
	Field string
	Err   error
}

func (e *NameError) Error() string { return e.Err.Error() }
func (e *NameError) Unwrap() error { return e.Err }

// StreamName picks the stream's name out of a request in wire format, leaving
// the rest of it unread. Its errors are *NameError.
func StreamName(message []byte) (stream.Name, error) {
	name, err := pickName(message)
	if err != nil {
		return stream.Name{}, &NameError{Err: fmt.Errorf("malformed request: %w", err)}
	}
	if err := stream.CheckBucketName(name.Bucket); err != nil {
		return stream.Name{}, &NameError{Field: "bucket", Err: err}
	}
	if err := stream.CheckStreamName(name.Stream); err != nil {
		return stream.Name{}, &NameError{Field: "stream", Err: err}
	}
	return name, nil
}

// pickName walks all fields, since of a field that is repeated the last counts.
func pickName(message []byte) (name stream.Name, err error) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return name, protowire.ParseError(n)
		}
		message = message[n:]
		if number != bucketField && number != streamField {
			if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
				return name, protowire.ParseError(n)
			}
			message = message[n:]
			continue
		}
		if kind != protowire.BytesType {
			return name, fmt.Errorf("field %d has wire type %d: want a string", number, kind)
		}
		value, n := protowire.ConsumeString(message)
		if n < 0 {
			return name, protowire.ParseError(n)
		}
		message = message[n:]
		if number == bucketField {
			name.Bucket = value
		} else {
			name.Stream = value
		}
	}
	return name, nil
}
