package compaction

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
)

// garbling flips a bit of the first answers.
type garbling struct {
	objstore.Store
	answers int
}

func (g *garbling) Get(ctx context.Context, key string, r objstore.Range) (objstore.Object, error) {
	o, err := g.Store.Get(ctx, key, r)
	if g.answers > 0 {
		g.answers--
		o.Body = bytes.Clone(o.Body)
		o.Body[g.answers] ^= 1
	}
	return o, err
}

func TestCheckOwn_TakesNoGarbledAnswerForAnotherObject(t *testing.T) {
	ctx, object := t.Context(), []byte("what was put")
	for _, test := range []struct {
		name    string
		stands  string
		garbled int
		wants   error
	}{
		{"its own", "what was put", 0, nil},
		{"its own, garbled once", "what was put", 1, nil},
		{"its own, garbled twice", "what was put", 2, new(DamageError)},
		{"another", "something else", 0, new(chunkindex.BehindError)},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := &garbling{Store: objstore.NewMem(), answers: test.garbled}
			require.NoError(t, store.PutIfAbsent(ctx, "chunk/1", []byte(test.stands)))
			err := (&Compactor{store: store}).checkOwn(ctx, "chunk/1", object)
			if test.wants == nil {
				require.NoError(t, err)
				return
			}
			require.IsType(t, test.wants, err)
		})
	}
}
