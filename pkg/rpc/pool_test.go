package rpc

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

func TestBufferPool_GivesTheLengthAskedForOfTheNextPowerOfTwo(t *testing.T) {
	p := newBufferPool()
	for length, capacity := range map[int]int{0: 256, 1: 256, 256: 256, 257: 512, 300_000: 1 << 19, 4 << 20: 4 << 20, 4<<20 + 1: 4<<20 + 1} {
		b := p.Get(length)
		require.Len(t, *b, length)
		require.Equal(t, capacity, cap(*b), length)
		*b = (*b)[:0]
		p.Put(b)
		again := p.Get(length)
		require.Len(t, *again, length)
	}
	foreign := make([]byte, 3, 1000)
	p.Put(&foreign)
	require.Equal(t, 1024, cap(*p.Get(1000)))
}

func TestCodec_CarriesMessagesOfAllSizes(t *testing.T) {
	codec := newCodec(newBufferPool())
	for _, size := range []int{0, 1, 1023, 1024, 70_000, 5 << 20} {
		for range 3 { // so that buffers come back used
			sent := &samsav1.AppendRequest{Bucket: "b", Records: []*samsav1.AppendRecord{{Body: make([]byte, size)}}}
			data, err := codec.Marshal(sent)
			require.NoError(t, err)
			var got samsav1.AppendRequest
			require.NoError(t, codec.Unmarshal(data, &got))
			require.True(t, proto.Equal(sent, &got), size)
			for _, b := range data { // what a later message would find in the buffer
				clearWith(b, 0xff)
			}
			data.Free()
		}
	}
	_, err := codec.Marshal("text")
	require.ErrorContains(t, err, "string is no protobuf message")
	require.Error(t, codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer{0xff}}, &samsav1.AppendRequest{}))
}

func clearWith(b mem.Buffer, value byte) {
	data := b.ReadOnlyData()
	for i := range data {
		data[i] = value
	}
}
