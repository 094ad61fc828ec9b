package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const jsonType = "application/json"

// jsonMarshaler is protojson with field names as in the API's definition. Fields
// without a value are shown with their default, so that nobody has to guess what
// a missing one means; those that are optional, or messages, are left out.
type jsonMarshaler struct{ runtime.JSONPb }

func newJSONMarshaler() *jsonMarshaler {
	return &jsonMarshaler{runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true},
		UnmarshalOptions: protojson.UnmarshalOptions{},
	}}
}

// Marshal implements runtime.Marshaler; it ends with a newline.
func (m *jsonMarshaler) Marshal(v any) ([]byte, error) {
	b, err := m.JSONPb.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Grow(len(b) + 1)
	// protojson varies its spaces on purpose; scripts are better off without.
	if err := json.Compact(&out, b); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// NewEncoder implements runtime.Marshaler.
func (m *jsonMarshaler) NewEncoder(w io.Writer) runtime.Encoder { return encoderOf(m, w) }

// textMarshaler shows and takes records with plain strings.
type textMarshaler struct {
	*jsonMarshaler
	text *text
}

// Marshal implements runtime.Marshaler.
func (m *textMarshaler) Marshal(v any) ([]byte, error) {
	if message, ok := v.(proto.Message); ok {
		if plain := m.text.show(message.ProtoReflect()); plain != nil {
			v = plain
		}
	}
	return m.jsonMarshaler.Marshal(v)
}

// Unmarshal implements runtime.Marshaler.
func (m *textMarshaler) Unmarshal(data []byte, v any) error {
	message, ok := v.(proto.Message)
	if !ok {
		return m.jsonMarshaler.Unmarshal(data, v)
	}
	plain := m.text.empty(message.ProtoReflect().Descriptor())
	if plain == nil {
		return m.jsonMarshaler.Unmarshal(data, v)
	}
	if err := protojson.Unmarshal(data, plain); err != nil {
		return err
	}
	return m.text.read(plain, message.ProtoReflect())
}

// NewDecoder implements runtime.Marshaler.
func (m *textMarshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("read the request body: %w", err)
		}
		if len(bytes.TrimSpace(data)) == 0 {
			return io.EOF
		}
		return m.Unmarshal(data, v)
	})
}

// NewEncoder implements runtime.Marshaler.
func (m *textMarshaler) NewEncoder(w io.Writer) runtime.Encoder { return encoderOf(m, w) }

func encoderOf(m interface{ Marshal(any) ([]byte, error) }, w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := m.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
}
