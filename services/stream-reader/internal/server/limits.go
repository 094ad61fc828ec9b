package server

import (
	"time"

	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/stream"

	"github.com/samsa-io/samsa/services/stream-reader/frame"
)

// Limits are what readers of one stream may take together at this reader. A nil
// part limits nothing.
type Limits struct {
	// Rates: a read or session is one request; records and bytes count when they are
	// sent.
	Rates *limit.Rates
	// Subscribers bounds the sessions of a stream.
	Subscribers *limit.Places
}

// begin lets a read begin, or not.
func (l Limits) begin(name stream.Name) error {
	return l.Rates.Take(name.String(), limit.Cost{Requests: 1})
}

// subscribe is begin for a session.
func (l Limits) subscribe(name stream.Name) (leave func(), err error) {
	if err := l.begin(name); err != nil {
		return nil, err
	}
	if l.Subscribers == nil {
		return func() {}, nil
	}
	return l.Subscribers.Enter(name.String(), "")
}

// sent charges what a read has brought, and returns after how long more may be sent.
func (l Limits) sent(name stream.Name, f *frame.Frame) time.Duration {
	if l.Rates == nil || f == nil {
		return 0
	}
	return l.Rates.Charge(name.String(), costOf(f))
}

func costOf(f *frame.Frame) limit.Cost {
	return limit.Cost{Records: int(f.Count), Bytes: f.Size()}
}
