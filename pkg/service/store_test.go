package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/samsa-io/samsa/pkg/objstore"
)

func TestInsist_WaitsForAStoreThatIsNotUpYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		value, err := insist(zaptest.NewLogger(t), "not yet", func(context.Context) (int, error) {
			if attempts++; attempts < 5 {
				return 0, unreachable()
			}
			return 7, nil
		})
		require.NoError(t, err)
		require.Equal(t, 7, value)
	})
}

func TestInsist_GivesUpAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		_, err := insist(zaptest.NewLogger(t), "not yet", func(context.Context) (int, error) { return 0, unreachable() })
		require.Error(t, err)
		require.InDelta(t, storeWait.Seconds(), time.Since(begun).Seconds(), 2)
	})
}

func TestInsist_DoesNotRepeatWhatCannotPass(t *testing.T) {
	for _, err := range []error{
		&objstore.ProbeError{Promise: "put-if-absent"},
		&objstore.Error{Op: "put", Err: objstore.ErrRefused},
		errors.New("another shard count"),
	} {
		attempts := 0
		_, got := insist(zaptest.NewLogger(t), "not yet", func(context.Context) (int, error) {
			attempts++
			return 0, err
		})
		require.ErrorIs(t, got, err)
		require.Equal(t, 1, attempts)
	}
}

func TestOnFatal_EndsTheProgram(t *testing.T) {
	told := make(shutdowns, 1)
	onFatal(zaptest.NewLogger(t), told)(errors.New("fsync failed"))
	<-told
}

func unreachable() error {
	return &objstore.Error{Op: "put", Err: errors.New("connection refused")}
}
