package writer

import (
	"context"

	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Observer is told what becomes of the log. Its methods are called one at a time
// and must not block. Embed Ignore for those that do nothing.
type Observer interface {
	Began(stream.Incarnation)
	// Durable's ctx carries the trace of the segment, if it has one.
	Durable(context.Context, stream.Incarnation, shardlog.Durable)
	Owned(shardlog.Owned)
	Lost(stream.Shard)
	Sealed(stream.Incarnation)
	Ended(stream.Incarnation, error)
}

// Ignore is an Observer that does nothing.
type Ignore struct{}

// Began does nothing.
func (Ignore) Began(stream.Incarnation) {}

// Durable does nothing.
func (Ignore) Durable(context.Context, stream.Incarnation, shardlog.Durable) {}

// Owned does nothing.
func (Ignore) Owned(shardlog.Owned) {}

// Lost does nothing.
func (Ignore) Lost(stream.Shard) {}

// Sealed does nothing.
func (Ignore) Sealed(stream.Incarnation) {}

// Ended does nothing.
func (Ignore) Ended(stream.Incarnation, error) {}
