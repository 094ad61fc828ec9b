package bucket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/stream"
	"go.uber.org/zap"
)

// Catalog is what the bucket service needs of *catalog.Catalog.
type Catalog interface {
	CreateStream(ctx context.Context, name stream.Name, s settings.Stream) (catalog.Stream, error)
	LookupStream(ctx context.Context, name stream.Name) (catalog.Stream, catalog.Bucket, error)
	ListStreams(ctx context.Context, bucket string, page catalog.Page) ([]catalog.Stream, bool, error)

	ReconfigureStream(ctx context.Context, name stream.Name, change settings.StreamChange, hold catalog.Hold) (catalog.Stream, error)
	StreamApplied(ctx context.Context, s catalog.Stream) error
	BeginStreamDeletion(ctx context.Context, name stream.Name, hold catalog.Hold) (catalog.Stream, error)
	RemoveStream(ctx context.Context, s catalog.Stream) error
	ClaimStreams(ctx context.Context, limit int, hold catalog.Hold) ([]catalog.Stream, error)
	ClaimEmptyable(ctx context.Context, limit int, hold catalog.Hold) ([]catalog.Stream, error)
	KeepStream(ctx context.Context, s catalog.Stream, pause time.Duration) error
	EndStream(ctx context.Context, s catalog.Stream) error
}

// ErrCatalogBehind says that an owner knows of a stream what the catalog does not: it
// was put back to an older backup. Compactors bring it up to date.
var ErrCatalogBehind = errors.New("the catalog is behind what the stream's owner knows")

// Owners reaches the shards' owners. Its calls return once what they ask for is
// durable, and may be repeated. ErrCatalogBehind: the owner has another stream of that
// name, or another configuration of that version or a later one.
type Owners interface {
	// ConfigureStream brings s.Config into effect.
	ConfigureStream(ctx context.Context, s catalog.Stream) error
	// TombstoneStream ends the stream for good.
	TombstoneStream(ctx context.Context, s catalog.Stream) error
	// EndIfEmpty ends the stream for good if it has been empty for as long as its
	// configuration says. Otherwise it says for how long at least it has not.
	EndIfEmpty(ctx context.Context, s catalog.Stream) (ended bool, kept time.Duration, err error)
}

// Options are the limits that a Streams works with.
type Options struct {
	OwnerTimeout time.Duration // for an owner to acknowledge
	Hold         catalog.Hold  // before a finisher takes up, or again, what is unfinished
}

// Streams answers the calls about streams.
type Streams struct {
	catalog Catalog
	finish  finishing
	hold    catalog.Hold
	log     *zap.Logger
}

// New makes a Streams and the Finisher of what its calls leave unfinished, which
// the caller runs.
func New(c Catalog, owners Owners, o Options, log *zap.Logger) (*Streams, *Finisher) {
	f := finishing{catalog: c, owners: owners, timeout: o.OwnerTimeout}
	return &Streams{catalog: c, finish: f, hold: o.Hold, log: log}, &Finisher{catalog: c, finish: f, hold: o.Hold, log: log}
}

func invalid(field string, err error) error {
	if err == nil {
		return nil
	}
	return &settings.InvalidError{Field: field, Problem: err.Error()}
}

func checkBucket(name string) error { return invalid("bucket", stream.CheckBucketName(name)) }

func check(name stream.Name) error {
	if err := checkBucket(name.Bucket); err != nil {
		return err
	}
	return invalid("stream", stream.CheckStreamName(name.Stream))
}

// Create makes a stream.
func (s *Streams) Create(ctx context.Context, name stream.Name, given settings.Stream) (catalog.Stream, error) {
	if err := check(name); err != nil {
		return catalog.Stream{}, err
	}
	return s.catalog.CreateStream(ctx, name, given)
}

// Get finds a stream.
func (s *Streams) Get(ctx context.Context, name stream.Name) (catalog.Stream, error) {
	if err := check(name); err != nil {
		return catalog.Stream{}, err
	}
	found, _, err := s.catalog.LookupStream(ctx, name)
	return found, err
}

// List lists a bucket's streams by name.
func (s *Streams) List(ctx context.Context, bucket string, page catalog.Page) ([]catalog.Stream, bool, error) {
	if err := checkBucket(bucket); err != nil {
		return nil, false, err
	}
	if err := page.Check(); err != nil {
		return nil, false, err
	}
	return s.catalog.ListStreams(ctx, bucket, page)
}

// Reconfigure changes a stream's configuration. *UnfinishedError: it is stored
// and takes effect later.
func (s *Streams) Reconfigure(ctx context.Context, name stream.Name, change settings.StreamChange) (catalog.Stream, error) {
	if err := check(name); err != nil {
		return catalog.Stream{}, err
	}
	changed, err := s.catalog.ReconfigureStream(ctx, name, change, s.hold)
	if err != nil {
		return catalog.Stream{}, err
	}
	if err := s.configure(ctx, changed); err != nil {
		return catalog.Stream{}, err
	}
	s.note(changed, s.catalog.StreamApplied(ctx, changed))
	return changed, nil
}

// configure brings a configuration into effect, or the later one that others have made
// of it meanwhile: an owner that has that one has nothing to do with this.
func (s *Streams) configure(ctx context.Context, newest catalog.Stream) error {
	for {
		err := s.finish.configure(ctx, newest)
		if !errors.Is(err, ErrCatalogBehind) {
			return err
		}
		now, _, lookErr := s.catalog.LookupStream(ctx, newest.Name)
		if lookErr != nil || now.ID != newest.ID || now.ConfigVersion <= newest.ConfigVersion {
			return err
		}
		newest = now
	}
}

// Delete ends a stream. *UnfinishedError: its deletion has begun and goes on by
// itself, but appends to it may still be acknowledged.
func (s *Streams) Delete(ctx context.Context, name stream.Name) error {
	if err := check(name); err != nil {
		return err
	}
	marked, err := s.catalog.BeginStreamDeletion(ctx, name, s.hold)
	if err != nil {
		return err
	}
	if err := s.finish.tombstone(ctx, marked); err != nil {
		return err
	}
	s.note(marked, s.catalog.RemoveStream(ctx, marked))
	return nil
}

// note logs an error in the bookkeeping after the owner has acknowledged. The
// call succeeds: what it promises is true, and a finisher makes good for the
// rest.
func (s *Streams) note(of catalog.Stream, err error) {
	if err != nil {
		s.log.Info("bookkeeping is left to the finisher", zap.Stringer("stream_id", of.ID), zap.Error(err))
	}
}

// UnfinishedError says that a change of a stream is stored, but that the shard's
// owner has not acknowledged it. It is finished later.
type UnfinishedError struct {
	Stream catalog.Stream
	Err    error
}

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("%s: %v", e.Situation(), e.Err)
}

// Situation says what has been done and what has not.
func (e *UnfinishedError) Situation() string {
	if e.Deleting() {
		return fmt.Sprintf("stream %q is marked deleted and its deletion goes on by itself, but its shard's owner has not acknowledged it", e.Stream.Name.Stream)
	}
	return fmt.Sprintf("the new configuration of stream %q is stored and takes effect later by itself, but its shard's owner has not acknowledged it", e.Stream.Name.Stream)
}

// Deleting tells a deletion from a reconfiguration.
func (e *UnfinishedError) Deleting() bool { return e.Stream.State == catalog.StateDeleting }

func (e *UnfinishedError) Unwrap() error { return e.Err }
