package bucket

import (
	"context"
	"time"

	"github.com/samsa-io/samsa/pkg/catalog"
)

// endIfEmpty deletes a stream that its configuration wants deleted when it is empty,
// if it is. The owner decides, and its tombstone comes first: a row that was marked
// first would have to be turned back if a record had come meanwhile.
func (f finishing) endIfEmpty(ctx context.Context, s catalog.Stream) error {
	asking, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	ended, kept, err := f.owners.EndIfEmpty(asking, s)
	switch {
	case err != nil:
		return err
	case ended:
		return f.catalog.EndStream(ctx, s)
	}
	return f.catalog.KeepStream(ctx, s, max(kept, pauseOf(s)))
}

// pauseOf lies between two looks at a stream that may be emptied at any time: a tenth
// of the time that it may be empty.
func pauseOf(s catalog.Stream) time.Duration {
	const least, most = time.Second, time.Hour
	tenth := min(s.Config.DeleteOnEmptySeconds/10, uint64(most/time.Second))
	return max(time.Duration(tenth)*time.Second, least)
}
