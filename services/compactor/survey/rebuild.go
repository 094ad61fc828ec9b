package survey

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Rebuildable is an index that can be replaced; chunkindex.DB documents each call.
type Rebuildable interface {
	Status(ctx context.Context) (chunkindex.Status, error)
	Halt(ctx context.Context, reason string) error
	Exclude(ctx context.Context) (release func(), err error)
	Replace(ctx context.Context, r chunkindex.Rebuilt) error

	Page(ctx context.Context, after segment.ChunkID, limit int) ([]chunkindex.Object, error)
	ChunksIn(ctx context.Context, ids []segment.ChunkID) ([]chunkindex.Chunk, error)
}

// Rebuilt says what a rebuild has found.
type Rebuilt struct {
	Done            bool // the index was replaced
	Objects, Chunks int
	Logs, Collected int // with slots in chunks; of them, without slots
	Damage          []Finding
	Known           catalog.Known    // by states and logs
	Catalog         catalog.Restored // what it was behind in
}

// Catalog is behind if the index is: both are in the database that was put back. See
// catalog.Catalog.
type Catalog interface {
	RestoreStreams(ctx context.Context, known catalog.Known) (catalog.Restored, error)
	Behind(ctx context.Context, known catalog.Known) (bool, error)
}

// Rebuild replaces the index by what the store gives, whatever there was, and brings
// the catalog up to it. Until it is done the index is halted with reason. Errors: chunkindex.ErrRebuilding if
// somebody else is at it, those of the store and the index. Damaged objects are no
// error: what they held is left out, and they are in the report.
func (s *Survey) Rebuild(ctx context.Context, index Rebuildable, names Catalog, reason string) (Rebuilt, error) {
	if err := index.Halt(ctx, reason); err != nil {
		return Rebuilt{}, err
	}
	return s.RebuildIfHalted(ctx, index, names)
}

// RebuildIfHalted is Rebuild of an index that is halted. One that is not, because
// somebody else was first, is left as it is.
func (s *Survey) RebuildIfHalted(ctx context.Context, index Rebuildable, names Catalog) (Rebuilt, error) {
	release, err := index.Exclude(ctx)
	if err != nil {
		return Rebuilt{}, err
	}
	defer release()
	status, err := index.Status(ctx)
	if err != nil || status.Behind == "" {
		return Rebuilt{}, err
	}
	r := s.newRebuild(func(stream.Shard) bool { return true })
	missing := func(ctx context.Context) error { return r.findMissing(ctx, index) }
	for _, step := range []func(context.Context) error{r.readStates, r.readObjects, r.readLogs, missing, r.readFooters} {
		if err := step(ctx); err != nil {
			return Rebuilt{}, err
		}
	}
	s.Progress.begin("writing catalog and index")
	made := r.make()
	if r.report.Catalog, err = names.RestoreStreams(ctx, r.report.Known); err != nil {
		return Rebuilt{}, err
	}
	if err := index.Replace(ctx, made); err != nil {
		return Rebuilt{}, err
	}
	r.report.Done = true
	r.report.Objects, r.report.Chunks = len(made.Objects), len(made.Chunks)
	return r.report, nil
}

// rebuild is one under way.
type rebuild struct {
	survey  *Survey
	shards  func(stream.Shard) bool // those whose states are read
	objects []*segment.Chunks
	logs    []*logView
	facts   chunkindex.Facts
	limits  map[stream.ID]chunkindex.Limit
	// alive is the streams that states or logs know, those that have ended since
	// included. It is all of them unless states or logs are damaged.
	alive   map[stream.ID]*catalog.Stream
	missing missing
	report  Rebuilt
}

func (s *Survey) newRebuild(shards func(stream.Shard) bool) *rebuild {
	return &rebuild{survey: s, shards: shards, alive: map[stream.ID]*catalog.Stream{}, limits: map[stream.ID]chunkindex.Limit{}}
}

func (r *rebuild) bad(f Finding) { r.report.Damage = append(r.report.Damage, f) }

func (r *rebuild) readStates(ctx context.Context) error {
	r.survey.Progress.begin("reading states")
	for shard := range stream.Shard(r.survey.shards) {
		if !r.shards(shard) {
			continue
		}
		state, err := r.survey.newestState(ctx, shard, r.bad)
		if err != nil {
			return err
		}
		if state == nil {
			continue
		}
		r.facts.TakeState(state)
		for i := range state.Streams {
			x := &state.Streams[i]
			r.alive[x.ID] = &catalog.Stream{ID: x.ID, BucketID: x.BucketID, Name: x.Name, Config: x.Config, ConfigVersion: x.ConfigVersion}
		}
	}
	return nil
}

// readObjects reads the footers of all chunk objects.
func (r *rebuild) readObjects(ctx context.Context) error {
	s := r.survey
	s.Progress.begin("reading chunk objects")
	var ids []segment.ChunkID
	for info, err := range s.store.List(ctx, segment.ChunkPrefix, "") {
		if err != nil {
			return err
		}
		if id, ok := segment.ParseChunkKey(info.Key); ok {
			ids = append(ids, id)
		}
	}
	read := make([]*segment.Chunks, len(ids))
	errs, err := s.each(ctx, len(ids), func(ctx context.Context, i int) (err error) {
		read[i], err = s.chunksFooter(ctx, ids[i])
		return err
	})
	if err != nil {
		return err
	}
	for i, about := range read {
		if errs[i] != nil {
			r.bad(damaged(segment.ChunkKey(ids[i]), errs[i]))
			continue
		}
		r.objects = append(r.objects, about)
	}
	return nil
}

func (s *Survey) chunksFooter(ctx context.Context, id segment.ChunkID) (about *segment.Chunks, err error) {
	err = s.suffix(ctx, segment.ChunkKey(id), func(body []byte) (err error) {
		about, err = segment.DecodeChunks(body)
		return checkID(about, id, err)
	})
	return about, err
}

func checkID(about *segment.Chunks, id segment.ChunkID, err error) error {
	if err == nil && about.ID != id {
		return fmt.Errorf("it says that it is chunk object %d", about.ID)
	}
	return err
}

// readLogs finds out which logs are gone, and checks the objects because of which slots
// may yet be deleted.
func (r *rebuild) readLogs(ctx context.Context) error {
	r.survey.Progress.begin("reading logs")
	standing := map[stream.Incarnation]bool{}
	if err := r.findLogs(ctx); err != nil {
		return err
	}
	for _, l := range r.logs {
		standing[l.id] = !l.gone && len(l.slots) > 0
	}
	return r.check(ctx, standing)
}

func (r *rebuild) findLogs(ctx context.Context) error {
	for l, err := range r.survey.logs(ctx, func(string) {}) {
		if err != nil {
			return err
		}
		if l.gone && !l.sealed {
			r.bad(Finding{Kind: Damage, Key: segment.GoneKey(l.id), What: "the log is marked as gone, but no seal of it stands", Remedy: restoreObject})
			l.gone = false
		}
		r.logs = append(r.logs, l)
	}
	return nil
}

func (r *rebuild) readFooters(ctx context.Context) error {
	for _, l := range r.logs {
		if err := r.readLog(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// check reads the objects whole that were made from what stands. Damaged ones are
// left out: what they were made from is compacted again.
func (r *rebuild) check(ctx context.Context, standing map[stream.Incarnation]bool) error {
	stand := map[segment.ChunkID]bool{}
	for _, o := range r.objects {
		stand[o.ID] = true
	}
	bad, err := r.survey.each(ctx, len(r.objects), func(ctx context.Context, i int) error {
		o := r.objects[i]
		if !standing[o.Log] && !slices.ContainsFunc(o.Sources, func(id segment.ChunkID) bool { return stand[id] }) {
			return nil
		}
		return r.survey.chunks(ctx, o.ID, nil)
	})
	if err != nil {
		return err
	}
	var sound []*segment.Chunks
	for i, o := range r.objects {
		if bad[i] != nil {
			r.bad(damaged(segment.ChunkKey(o.ID), bad[i]))
			continue
		}
		sound = append(sound, o)
	}
	r.objects = sound
	return nil
}

// chunks reads a chunk object whole and checks all of it.
func (s *Survey) chunks(ctx context.Context, id segment.ChunkID, done func(*segment.Chunks)) error {
	return s.get(ctx, segment.ChunkKey(id), objstore.Whole, func(body []byte) error {
		about, err := segment.VerifyChunks(body, nil)
		if err = checkID(about, id, err); err == nil && done != nil {
			done(about)
		}
		return err
	})
}

// readLog reads the footers of a log's durable slots: what they say holds for good,
// whether or not they are compacted yet.
func (r *rebuild) readLog(ctx context.Context, l *logView) error {
	if l.gone {
		return nil // its facts are in states
	}
	slots := l.durable()
	for window := range slices.Chunk(slots, r.survey.parallel) {
		footers, errs, err := r.survey.footers(ctx, l.id, window)
		if err != nil {
			return err
		}
		for i, f := range footers {
			if errs[i] != nil {
				r.bad(damaged(segment.SlotKey(l.id, window[i]), errs[i]))
				continue
			}
			r.take(f)
		}
	}
	return nil
}

func (r *rebuild) take(f *segment.Footer) {
	r.facts.Take(f)
	for _, section := range f.Sections {
		r.missing.stand(section.Streams)
		for i := range section.Entries {
			r.entry(&section.Entries[i])
		}
	}
}

// entry follows what happened after the states. Logs are read in any order, so who has
// ended is told by the facts, at last.
func (r *rebuild) entry(e *segment.Entry) {
	x := r.alive[e.Stream]
	switch {
	case e.Kind == segment.EntryOpen && x == nil:
		r.alive[e.Stream] = &catalog.Stream{ID: e.Stream, BucketID: e.BucketID, Name: e.Name, Config: e.Config, ConfigVersion: e.ConfigVersion}
	case e.Kind == segment.EntryConfigure && x != nil && e.ConfigVersion > x.ConfigVersion:
		x.Config, x.ConfigVersion = e.Config, e.ConfigVersion
	}
}

// footers reads those of some slots at once. Seals have an empty one.
func (s *Survey) footers(ctx context.Context, log stream.Incarnation, slots []stream.Slot) ([]*segment.Footer, []error, error) {
	out := make([]*segment.Footer, len(slots))
	errs, err := s.each(ctx, len(slots), func(ctx context.Context, i int) error {
		return s.suffix(ctx, segment.SlotKey(log, slots[i]), func(body []byte) (err error) {
			out[i], err = decodeFooter(body, log, slots[i])
			return err
		})
	})
	return out, errs, err
}

func decodeFooter(body []byte, log stream.Incarnation, slot stream.Slot) (*segment.Footer, error) {
	footer, err := segment.DecodeFooter(body)
	var kind *segment.KindError
	if errors.As(err, &kind) && kind.Got == segment.KindSeal {
		return &segment.Footer{}, nil
	}
	if err == nil && (footer.Log != log || footer.Slot != slot) {
		err = fmt.Errorf("it says that it is slot %d of log %s", footer.Slot, footer.Log)
	}
	return footer, err
}

// make puts together what was read.
func (r *rebuild) make() chunkindex.Rebuilt {
	r.sort()
	made := chunkindex.Rebuild(r.objects, r.limits)
	made.Facts = r.facts
	r.keepMissing(&made)
	made.Gone, made.Collected = map[stream.Incarnation]stream.Slot{}, map[stream.Incarnation]bool{}
	for _, l := range r.logs {
		if !l.gone {
			continue
		}
		made.Gone[l.id] = l.end
		if made.Collected[l.id] = l.below(l.end) == 0; made.Collected[l.id] {
			r.report.Collected++
		}
	}
	r.report.Logs = len(made.Watermarks)
	slices.SortFunc(r.report.Damage, func(a, b Finding) int { return cmp.Compare(a.Key, b.Key) })
	return made
}

// sort tells the living from the dead.
func (r *rebuild) sort() {
	r.facts.Limit(r.limits)
	known := &r.report.Known
	for id, x := range r.alive {
		if !r.limits[id].Dead {
			known.Alive = append(known.Alive, *x)
		}
	}
	for id, limit := range r.limits {
		if limit.Dead {
			known.Dead = append(known.Dead, id)
		}
	}
	known.DeadBuckets = distinct(r.facts.BucketTombstones)
	slices.SortFunc(known.Alive, func(a, b catalog.Stream) int { return bytes.Compare(a.ID[:], b.ID[:]) })
}

func distinct(ids []stream.ID) []stream.ID {
	ids = slices.SortedFunc(slices.Values(ids), func(a, b stream.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}
