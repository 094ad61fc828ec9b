package rpc

import (
	"fmt"
	"math/bits"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	protov2 "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// Buffers of a pool are powers of two between these.
const (
	smallestBuffer = 8  // 256 B
	largestBuffer  = 22 // 4 MiB
)

// bufferPool is a mem.BufferPool for messages of all sizes. grpc-go's own has few
// sizes and clears a whole buffer whenever it is taken, a megabyte for a message
// of 100 KiB; streaming batches of 256 KiB takes over half as much CPU time again
// with it. Here buffers come as they are, so whoever takes one must write before
// reading; the transport and the codec below do.
type bufferPool struct {
	sizes [largestBuffer - smallestBuffer + 1]sync.Pool
}

func newBufferPool() *bufferPool { return new(bufferPool) }

// Get returns a buffer of the given length with anything in it.
func (p *bufferPool) Get(length int) *[]byte {
	class := sizeClass(length)
	if class > largestBuffer {
		b := make([]byte, length)
		return &b
	}
	b, ok := p.sizes[class-smallestBuffer].Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 1<<class)
		b = &fresh
	}
	*b = (*b)[:length]
	return b
}

// Put takes a buffer back. Those that did not come from Get are left to the
// garbage collector.
func (p *bufferPool) Put(b *[]byte) {
	class := sizeClass(cap(*b))
	if class <= largestBuffer && cap(*b) == 1<<class {
		p.sizes[class-smallestBuffer].Put(b)
	}
}

// sizeClass is the exponent of the smallest power of two that holds length bytes.
func sizeClass(length int) int {
	if length <= 1<<smallestBuffer {
		return smallestBuffer
	}
	return bits.Len(uint(length - 1))
}

// pooledCodec is the proto codec on a pool of its own.
type pooledCodec struct {
	pool mem.BufferPool
}

func newCodec(pool mem.BufferPool) encoding.CodecV2 { return pooledCodec{pool: pool} }

func (c pooledCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, err := message(v)
	if err != nil {
		return nil, err
	}
	size := protov2.Size(m)
	options := protov2.MarshalOptions{UseCachedSize: true}
	if mem.IsBelowBufferPoolingThreshold(size) {
		b, err := options.Marshal(m)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	}
	b := c.pool.Get(size)
	if *b, err = options.MarshalAppend((*b)[:0], m); err != nil {
		c.pool.Put(b)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(b, c.pool)}, nil
}

func (c pooledCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, err := message(v)
	if err != nil {
		return err
	}
	whole := data.MaterializeToBuffer(c.pool)
	defer whole.Free()
	return unmarshal(whole.ReadOnlyData(), m)
}

func unmarshal(wire []byte, m protov2.Message) error { return protov2.Unmarshal(wire, m) }

func (pooledCodec) Name() string { return proto.Name }

func message(v any) (protov2.Message, error) {
	switch m := v.(type) {
	case protov2.Message:
		return m, nil
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(m), nil
	}
	return nil, fmt.Errorf("%T is no protobuf message", v)
}
