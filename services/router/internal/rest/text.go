package rest

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

const (
	textParameter = "text"
	base64Suffix  = "_base64"
	// base64Offset is added to a field's number for its _base64 twin. The numbers
	// exist in memory only.
	base64Offset = 10_000
)

// text knows the messages of stream.proto in a second form: each bytes field is a
// string, and has a twin of bytes for what is not UTF-8.
type text struct{ file protoreflect.FileDescriptor }

func newText() (*text, error) {
	file := protodesc.ToFileDescriptorProto(samsav1.File_samsa_v1_stream_proto)
	file.Service = nil
	for _, message := range file.MessageType {
		for _, field := range message.Field {
			if field.GetType() == descriptorpb.FieldDescriptorProto_TYPE_BYTES {
				addTwin(message, field)
			}
		}
	}
	descriptor, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		return nil, fmt.Errorf("text form of %s: %w", file.GetName(), err)
	}
	return &text{descriptor}, nil
}

// addTwin makes field an optional string with an optional twin of bytes: either
// is shown only if it is set.
func addTwin(message *descriptorpb.DescriptorProto, field *descriptorpb.FieldDescriptorProto) {
	twin := proto.CloneOf(field)
	twin.Name = proto.String(field.GetName() + base64Suffix)
	twin.JsonName = proto.String(*twin.Name)
	twin.Number = proto.Int32(field.GetNumber() + base64Offset)
	field.Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
	message.Field = append(message.Field, twin)
	for _, f := range []*descriptorpb.FieldDescriptorProto{field, twin} {
		f.Proto3Optional = proto.Bool(true)
		f.OneofIndex = proto.Int32(int32(len(message.OneofDecl)))
		message.OneofDecl = append(message.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: proto.String("_" + f.GetName())})
	}
}

// empty returns an empty message in text form, nil if d has none.
func (t *text) empty(d protoreflect.MessageDescriptor) *dynamicpb.Message {
	plain := t.file.Messages().ByName(d.Name())
	if plain == nil || plain.FullName() != d.FullName() {
		return nil
	}
	return dynamicpb.NewMessage(plain)
}

// show returns m in text form, nil if it has none.
func (t *text) show(m protoreflect.Message) *dynamicpb.Message {
	plain := t.empty(m.Descriptor())
	if plain != nil {
		showFields(m, plain)
	}
	return plain
}

func showFields(m, plain protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		to := plain.Descriptor().Fields().ByNumber(field.Number())
		switch {
		case field.Kind() == protoreflect.BytesKind:
			showBytes(m.Get(field).Bytes(), plain, to)
		case !m.Has(field):
		case field.IsList() && field.Message() != nil:
			copyList(m.Get(field).List(), plain.Mutable(to).List(), showFields)
		case field.Message() != nil:
			showFields(m.Get(field).Message(), plain.Mutable(to).Message())
		default:
			plain.Set(to, m.Get(field))
		}
	}
}

func showBytes(b []byte, plain protoreflect.Message, to protoreflect.FieldDescriptor) {
	if utf8.Valid(b) {
		plain.Set(to, protoreflect.ValueOfString(string(b)))
		return
	}
	twin := plain.Descriptor().Fields().ByNumber(to.Number() + base64Offset)
	plain.Set(twin, protoreflect.ValueOfBytes(b))
}

func copyList(from, to protoreflect.List, fields func(from, to protoreflect.Message)) {
	for i := range from.Len() {
		element := to.NewElement()
		fields(from.Get(i).Message(), element.Message())
		to.Append(element)
	}
}

// read fills m from its text form.
func (t *text) read(plain, m protoreflect.Message) (err error) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		to := fields.Get(i)
		field := plain.Descriptor().Fields().ByNumber(to.Number())
		switch {
		case to.Kind() == protoreflect.BytesKind:
			err = readBytes(plain, field, m, to)
		case !plain.Has(field):
		case to.IsList() && to.Message() != nil:
			copyList(plain.Get(field).List(), m.Mutable(to).List(), func(from, to protoreflect.Message) {
				if e := t.read(from, to); e != nil {
					err = e
				}
			})
		case to.Message() != nil:
			err = t.read(plain.Get(field).Message(), m.Mutable(to).Message())
		default:
			m.Set(to, plain.Get(field))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readBytes(plain protoreflect.Message, field protoreflect.FieldDescriptor, m protoreflect.Message, to protoreflect.FieldDescriptor) error {
	twin := plain.Descriptor().Fields().ByNumber(field.Number() + base64Offset)
	switch {
	case plain.Has(field) && plain.Has(twin):
		return fmt.Errorf("both %s and %s are given: want one", field.Name(), twin.Name())
	case plain.Has(field):
		m.Set(to, protoreflect.ValueOfBytes([]byte(plain.Get(field).String())))
	case plain.Has(twin):
		m.Set(to, protoreflect.ValueOfBytes(plain.Get(twin).Bytes()))
	}
	return nil
}
