package objstore_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/objstore/faulty"
)

func TestProbe_FindsWhatAStoreBreaks(t *testing.T) {
	for name, test := range map[string]struct {
		store   objstore.Store
		promise string
	}{
		"ignores If-None-Match": {overwriting{objstore.NewMem()}, "exactly one succeeds"},
		"caches absence":        {&cachingAbsence{Store: objstore.NewMem()}, "seen once it is created"},
		"ignores ranges":        {wholeOnly{objstore.NewMem()}, "range of an object"},
		"forgets to list":       {unlisted{objstore.NewMem()}, "listing names all objects"},
		"keeps what is deleted": {undeletable{objstore.NewMem()}, "what is deleted is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			err := objstore.Probe(t.Context(), test.store)
			var broken *objstore.ProbeError
			require.ErrorAs(t, err, &broken)
			require.Contains(t, broken.Promise, test.promise)
			require.ErrorContains(t, err, "storage.url")
		})
	}
}

func TestProbe_TellsUnwellFromUnfit(t *testing.T) {
	faults := faulty.New(objstore.NewMem())
	faults.Add(faulty.Rule{Op: objstore.OpPut, Nth: 5, Fault: faulty.Unavailable()})
	err := objstore.Probe(t.Context(), faults)
	require.ErrorIs(t, err, faulty.ErrUnavailable)
	var broken *objstore.ProbeError
	require.False(t, errors.As(err, &broken))
	for info, err := range faults.List(t.Context(), "", "") {
		require.NoError(t, err)
		require.Fail(t, "it cleans up", info.Key)
	}
}

func TestProbe_AsksAgainAfterAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := faulty.New(objstore.NewMem())
		faults.Add(faulty.Rule{Op: objstore.OpPut, Nth: 3, Times: 20, Fault: faulty.Conflict()})
		require.NoError(t, objstore.Probe(t.Context(), faults))
	})
}

type overwriting struct{ *objstore.Mem }

func (o overwriting) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return errors.Join(o.Delete(ctx, key), ignoreExists(o.Mem.PutIfAbsent(ctx, key, body)))
}

func ignoreExists(err error) error {
	if errors.Is(err, objstore.ErrExists) {
		return nil
	}
	return err
}

type cachingAbsence struct {
	objstore.Store
	absent sync.Map
}

func (c *cachingAbsence) Get(ctx context.Context, key string, r objstore.Range) (objstore.Object, error) {
	if _, ok := c.absent.Load(key); ok {
		return objstore.Object{}, objstore.ErrNotFound
	}
	object, err := c.Store.Get(ctx, key, r)
	if errors.Is(err, objstore.ErrNotFound) {
		c.absent.Store(key, true)
	}
	return object, err
}

type wholeOnly struct{ *objstore.Mem }

func (w wholeOnly) Get(ctx context.Context, key string, _ objstore.Range) (objstore.Object, error) {
	return w.Mem.Get(ctx, key, objstore.Whole)
}

type unlisted struct{ *objstore.Mem }

func (u unlisted) List(context.Context, string, string) iter.Seq2[objstore.Info, error] {
	return func(func(objstore.Info, error) bool) {}
}

type undeletable struct{ *objstore.Mem }

func (u undeletable) Delete(context.Context, string) error { return nil }
