package compaction

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/samsa-io/samsa/pkg/local/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.StopAfter(m)) }

// story is a compactor's life beside growing logs; the fuse blows somewhere in it.
// A compactor that crashed is followed by another one.
func story(w *world, f *fuse) {
	ctx := context.Background()
	f.after = w.store.observe
	begin := func() *Compactor { return w.compactor(fusedStore{w.store, f}, fusedIndex{w.index, f}) }
	c := begin()
	for range 3 {
		w.grow(12)
		for _, step := range []func(context.Context) error{c.Compact, c.Collect, c.Compact} {
			err := step(ctx)
			if f.blown && err != nil {
				w.check()
				f.blow, f.at = failBefore, 0 // it has had its effect
				c = begin()
				err = nil
			}
			require.NoError(w.t, err)
			w.now = w.now.Add(testGrace)
		}
	}
	f.at, f.blown = 0, false
	w.check()
	w.rest()
	w.check()
	w.checkRebuilt()
	w.checkCollected()
}

func TestCompactor_KeepsEveryRecordOnce(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(t, seed, memIndex)
		story(w, &fuse{})
	}
}

// At every call on the store or the index, in every way.
func TestCompactor_SurvivesAnyFailureAnywhere(t *testing.T) {
	seeds := uint64(2)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		for _, blow := range []blow{failBefore, failAfter, crashBefore, crashAfter} {
			t.Run(fmt.Sprintf("%d %s", seed, blow), func(t *testing.T) {
				for at := 1; ; at++ {
					f := &fuse{at: at, blow: blow}
					story(newWorld(t, seed, memIndex), f)
					if f.calls < at {
						break
					}
				}
			})
		}
	}
}

var _ = time.Second
