package worker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/services/compactor/internal/worker"
)

type rounds struct{ compacted, collected int }

var errFails = errors.New("fails")

func (r *rounds) Compact(context.Context) error { r.compacted++; return nil }
func (r *rounds) Collect(context.Context) error { r.collected++; return errFails }

func TestWorker_TakesTurnsAndReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rounds{}
		var reports []error
		w := worker.New(r, time.Second, 5*time.Second, func(err error) { reports = append(reports, err) }, zap.NewNop())
		ctx, cancel := context.WithTimeout(t.Context(), 10500*time.Millisecond)
		defer cancel()
		w.Run(ctx)
		require.Equal(t, rounds{compacted: 11, collected: 2}, *r)
		require.Len(t, reports, 13)
		require.Contains(t, reports, errFails)
	})
}
