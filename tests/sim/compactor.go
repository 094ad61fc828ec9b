package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/chunkindex"
	"github.com/samsa-io/samsa/pkg/stream"
	"github.com/samsa-io/samsa/services/compactor/compaction"
	"github.com/samsa-io/samsa/services/compactor/survey"
)

// compactor is a compactor process: it compacts and collects in turn.
type compactor struct {
	*process
	s      *Sim
	rounds int   // finished
	err    error // of the last one
}

const (
	simGrace   = 300 * time.Millisecond
	simAbandon = 900 * time.Millisecond
	simSealAge = 400 * time.Millisecond // shorter than living writers may be silent
)

func (s *Sim) addCompactor() *compactor {
	s.compactorsMade++
	number := uint32(s.compactorsMade)
	c := &compactor{process: s.newProcess(fmt.Sprint("c", number)), s: s}
	store := client{s.store, c.process}
	core := compaction.New(store, connection{s.database, c.process}, compaction.Options{
		Shards: simShards, JobBytes: 3000, JobSlots: 6, ChunkBytes: 400, LiveBytes: 500, LiveAge: 200 * time.Millisecond,
		Grace: simGrace, Abandon: simAbandon, Parallel: 1,
		// Nobody is registered: now and then a writer that lives but owns nothing loses its log.
		SealAge: simSealAge, Registered: func(stream.Incarnation) bool { return false }, Now: time.Now,
		// Everything belongs to two of three, so that they race.
		Mine: func(key uint32) bool { return s.alone || key%3 != number%3 },
	}, zap.NewNop(), compaction.NewMetrics(nil))
	s.compactors = append(s.compactors, c)
	go c.run(core, survey.New(store, simShards, 1))
	return c
}

func (c *compactor) run(core *compaction.Compactor, store *survey.Survey) {
	for c.ctx.Err() == nil {
		for what, round := range []func(context.Context) error{core.Compact, core.Collect} {
			err := round(c.ctx)
			c.s.post(fmt.Sprint(c.name, " round ", what), func() { c.finished(err) })
			if !errors.As(err, new(*chunkindex.BehindError)) {
				continue
			}
			report, err := store.RebuildIfHalted(c.ctx, connection{c.s.database, c.process}, c.s.names(c.process))
			c.s.post(fmt.Sprint(c.name, " rebuild"), func() { c.rebuilt(report, err) })
		}
		select {
		case <-time.After(40 * time.Millisecond):
		case <-c.ctx.Done():
		}
	}
}

func (c *compactor) finished(err error) {
	if c.dead {
		return
	}
	c.rounds++
	c.err = err
	var behind *chunkindex.BehindError
	if errors.As(err, &behind) {
		c.s.mustf(c.s.stats.Restores > 0, "I9: a compactor takes the index for older than the store, which it is not: %v", err)
	}
	var damage *compaction.DamageError
	if c.s.calm && errors.As(err, &damage) {
		c.s.mustf(false, "I12: a compactor finds damage: %v", err)
	}
}

func (c *compactor) rebuilt(report survey.Rebuilt, err error) {
	if c.dead || !c.s.calm {
		return
	}
	c.s.mustf(err == nil || errors.Is(err, chunkindex.ErrUnavailable) || errors.Is(err, chunkindex.ErrRebuilding), "I13: an index cannot be rebuilt: %v", err)
	c.s.mustf(len(report.Damage) == 0, "I8: a rebuild finds damage: %v", report.Damage)
}

// names is the catalog as a rebuild sees it.
type names struct {
	s     *Sim
	p     *process
	begun time.Time
}

func (s *Sim) names(p *process) names { return names{s: s, p: p, begun: time.Now()} }

// Behind is not asked by a rebuild.
func (names) Behind(context.Context, catalog.Known) (bool, error) { return false, nil }

// RestoreStreams wants no stream to be taken for dead that lives, nor, unless answers
// were garbled, one to be missing, or one to come back that had ended when it began.
func (n names) RestoreStreams(ctx context.Context, known catalog.Known) (catalog.Restored, error) {
	return ask(ctx, n.p, "restores streams", func(reply func(catalog.Restored, error)) {
		for _, id := range known.Dead {
			l := n.s.model.lives[id]
			n.s.mustf(l != nil && l.deleting, "I5: a rebuild takes stream %s for deleted", id)
		}
		for _, l := range n.s.model.order {
			alive := slices.ContainsFunc(known.Alive, func(x catalog.Stream) bool { return x.ID == l.id })
			n.s.mustf(alive || l.deleting || l.tail == 0 || !n.s.calm, "I5: a rebuild does not know stream %s", l.id)
			n.s.mustf(!alive || !l.dead || l.ended.After(n.begun) || !n.s.calm, "I5: a rebuild brings stream %s back", l.id)
		}
		reply(catalog.Restored{}, nil)
	})
}
