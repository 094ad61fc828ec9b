package survey

import (
	"context"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Reconcile brings the catalog up to the store if the newest states of some shards tell
// that it is behind: Postgres can have been put back without the index lacking anything.
// Only then are logs read, as for a rebuild; the index is left as it is. Errors:
// chunkindex.ErrRebuilding if somebody rebuilds it, those of the store and the catalog.
func (s *Survey) Reconcile(ctx context.Context, index Rebuildable, names Catalog, shards func(stream.Shard) bool) (catalog.Restored, error) {
	look := s.newRebuild(shards)
	if err := look.readStates(ctx); err != nil {
		return catalog.Restored{}, err
	}
	look.sort()
	behind, err := names.Behind(ctx, look.report.Known)
	if err != nil || !behind {
		return catalog.Restored{}, err
	}
	release, err := index.Exclude(ctx) // nothing goes that tells of a stream's end
	if err != nil {
		return catalog.Restored{}, err
	}
	defer release()
	r := s.newRebuild(func(stream.Shard) bool { return true })
	for _, step := range []func(context.Context) error{r.readStates, r.findLogs, r.readFooters} {
		if err := step(ctx); err != nil {
			return catalog.Restored{}, err
		}
	}
	r.sort()
	return names.RestoreStreams(ctx, r.report.Known)
}
