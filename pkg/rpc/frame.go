package rpc

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Frame is one message that passes through unread. It owns a reference to its
// bytes: whoever received it calls Free when it is sent on or dropped.
type Frame struct {
	data mem.BufferSlice
}

// NewFrame returns a frame of the given bytes, which must not change after.
func NewFrame(data []byte) *Frame {
	return &Frame{data: mem.BufferSlice{mem.SliceBuffer(data)}}
}

// Len is the message's size in bytes.
func (f *Frame) Len() int { return f.data.Len() }

// Bytes is the message in one piece, valid until Free. It copies only a message
// that lies in several buffers, and then keeps the copy.
func (f *Frame) Bytes() []byte {
	if len(f.data) == 0 {
		return nil
	}
	if len(f.data) > 1 {
		whole := f.data.MaterializeToBuffer(mem.DefaultBufferPool())
		f.Free()
		f.data = append(f.data, whole)
	}
	return f.data[0].ReadOnlyData()
}

// Free gives the bytes back; the frame can then receive another message.
func (f *Frame) Free() {
	f.data.Free()
	clear(f.data)
	f.data = f.data[:0]
}

// FrameCodec passes *Frame through without copying, and everything else to the
// proto codec, so that a forwarding server can serve health and reflection too.
// Use it with grpc.ForceServerCodecV2 and grpc.ForceCodecV2.
func FrameCodec() encoding.CodecV2 {
	return frameCodec{messages: encoding.GetCodecV2(proto.Name)}
}

type frameCodec struct {
	messages encoding.CodecV2
}

// Marshal takes a reference for gRPC, which frees it; the frame keeps its own.
func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*Frame)
	if !ok {
		return c.messages.Marshal(v)
	}
	f.data.Ref()
	return append(mem.BufferSlice(nil), f.data...), nil
}

// Unmarshal takes a reference for the frame: gRPC frees its own on return.
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*Frame)
	if !ok {
		return c.messages.Unmarshal(data, v)
	}
	data.Ref()
	f.Free()
	f.data = append(f.data, data...)
	return nil
}

func (c frameCodec) Name() string { return proto.Name }
