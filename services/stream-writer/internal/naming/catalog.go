// Package naming finds streams by name in the catalog, for the writer.
package naming

import (
	"context"
	"errors"
	"time"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/pkg/stream"
)

// Rows is the part of the catalog that names streams; *catalog.Catalog is it.
type Rows interface {
	EnsureStreams(context.Context, []catalog.Wanted) ([]catalog.Ensured, error)
}

const (
	// batchLimit is how many streams one question is about, at most.
	batchLimit = 512
	// workers is how many questions are under way at once.
	workers = 2
	// patience bounds one question.
	patience = 10 * time.Second
)

// ErrStopped says that nobody answers lookups any more.
var ErrStopped = errors.New("this writer has stopped looking streams up: send the request again, another writer takes it")

// Catalog answers a writer's lookups. Those that come while questions are under way
// wait, and go together in the next one: so a single one is asked at once, and many
// cost few round trips.
type Catalog struct {
	rows    Rows
	asked   chan *question
	stopped chan struct{}
}

// question is one lookup.
type question struct {
	wanted catalog.Wanted
	answer catalog.Ensured
	done   chan struct{} // closed when it is answered
}

// New makes a Catalog; Run has it answer.
func New(rows Rows) *Catalog {
	return &Catalog{rows: rows, asked: make(chan *question), stopped: make(chan struct{})}
}

// Run answers lookups until ctx ends.
func (c *Catalog) Run(ctx context.Context) {
	defer close(c.stopped)
	places := make(chan struct{}, workers)
	for {
		batch := c.gather(ctx, places)
		if ctx.Err() != nil {
			break
		}
		go func() {
			defer func() { <-places }()
			c.ask(ctx, batch)
		}()
	}
	for range workers { // those under way
		places <- struct{}{}
	}
}

// gather takes lookups in until there is a place for a question about them.
func (c *Catalog) gather(ctx context.Context, places chan<- struct{}) (batch []*question) {
	for {
		var ready chan<- struct{}
		if len(batch) > 0 {
			ready = places
		}
		asked := c.asked
		if len(batch) == batchLimit {
			asked = nil
		}
		select {
		case q := <-asked:
			batch = append(batch, q)
		case ready <- struct{}{}:
			return batch
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Catalog) ask(ctx context.Context, batch []*question) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wanted := make([]catalog.Wanted, len(batch))
	for i, q := range batch {
		wanted[i] = q.wanted
	}
	answers, err := c.rows.EnsureStreams(ctx, wanted)
	for i, q := range batch {
		if err != nil {
			q.answer.Err = err
		} else {
			q.answer = answers[i]
		}
		close(q.done)
	}
}

// Find returns the active stream of that name. If it is missing and its bucket
// creates streams for such a purpose, it is created.
func (c *Catalog) Find(ctx context.Context, name stream.Name, purpose shardlog.Purpose) (shardlog.CatalogStream, error) {
	q := &question{wanted: catalog.Wanted{Name: name, Cause: causeOf(purpose)}, done: make(chan struct{})}
	select {
	case c.asked <- q:
	case <-ctx.Done():
		return shardlog.CatalogStream{}, ctx.Err()
	case <-c.stopped:
		return shardlog.CatalogStream{}, ErrStopped
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		return shardlog.CatalogStream{}, ctx.Err()
	case <-c.stopped:
		return shardlog.CatalogStream{}, ErrStopped
	}
	row := q.answer.Stream
	if q.answer.Err != nil {
		return shardlog.CatalogStream{}, q.answer.Err
	}
	return shardlog.CatalogStream{
		ID: row.ID, BucketID: row.BucketID, Config: row.Config, ConfigVersion: row.ConfigVersion,
	}, nil
}

func causeOf(purpose shardlog.Purpose) catalog.Cause {
	switch purpose {
	case shardlog.ForAppend:
		return catalog.CauseAppend
	case shardlog.ForRead:
		return catalog.CauseRead
	}
	return 0
}
