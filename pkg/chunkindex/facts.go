package chunkindex

import (
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Facts are what slots of a log, or states, say that lets records go.
type Facts struct {
	Opened           []Opening
	Trims            map[stream.ID]stream.SeqNum
	Tombstones       []stream.ID
	BucketTombstones []stream.ID
}

// Opening says that a stream began in a bucket.
type Opening struct{ Stream, Bucket stream.ID }

// Take adds what a segment says.
func (f *Facts) Take(footer *segment.Footer) {
	for _, section := range footer.Sections {
		for i := range section.Entries {
			f.entry(&section.Entries[i])
		}
		for i := range section.Streams {
			f.trim(section.Streams[i].Stream, section.Streams[i].Trim)
		}
	}
}

func (f *Facts) entry(e *segment.Entry) {
	switch e.Kind {
	case segment.EntryOpen:
		f.Opened = append(f.Opened, Opening{Stream: e.Stream, Bucket: e.BucketID})
	case segment.EntryTombstone:
		f.Tombstones = append(f.Tombstones, e.Stream)
	case segment.EntryTombstoneBucket:
		f.BucketTombstones = append(f.BucketTombstones, e.BucketID)
	case segment.EntryTrim:
		f.trim(e.Stream, e.Trim)
	}
}

func (f *Facts) trim(id stream.ID, to stream.SeqNum) {
	if to == 0 {
		return
	}
	if f.Trims == nil {
		f.Trims = map[stream.ID]stream.SeqNum{}
	}
	f.Trims[id] = max(f.Trims[id], to)
}

// TakeState adds what a state says.
func (f *Facts) TakeState(s *segment.State) {
	for i := range s.Streams {
		f.Opened = append(f.Opened, Opening{Stream: s.Streams[i].ID, Bucket: s.Streams[i].BucketID})
		f.trim(s.Streams[i].ID, s.Streams[i].Trim)
	}
	f.Tombstones = append(f.Tombstones, s.Tombstones...)
	f.BucketTombstones = append(f.BucketTombstones, s.BucketTombstones...)
}

// Limit adds to limits what the facts say of streams.
func (f *Facts) Limit(limits map[stream.ID]Limit) {
	for id, trim := range f.Trims {
		l := limits[id]
		l.Trim = max(l.Trim, trim)
		limits[id] = l
	}
	for _, id := range f.Tombstones {
		limits[id] = Limit{Dead: true}
	}
	gone := map[stream.ID]bool{}
	for _, bucket := range f.BucketTombstones {
		gone[bucket] = true
	}
	for _, o := range f.Opened {
		if gone[o.Bucket] {
			limits[o.Stream] = Limit{Dead: true}
		}
	}
}
