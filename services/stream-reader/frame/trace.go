package frame

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// Trace is the recorded trace that a frame came with, for the sessions that deliver
// it. Only the first few show up in it: a stream can have thousands.
type Trace struct {
	Context trace.SpanContext
	taken   atomic.Int32
}

// tracedSessions is how many deliveries of a frame are recorded.
const tracedSessions = 8

// NewTrace makes a Trace.
func NewTrace(sc trace.SpanContext) *Trace { return &Trace{Context: sc} }

// Take tells whether one more delivery is to be recorded; a nil Trace records none.
func (t *Trace) Take() bool { return t != nil && t.taken.Add(1) <= tracedSessions }
