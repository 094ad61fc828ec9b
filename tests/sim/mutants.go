package sim

// A mutant is the shipped code with a rule broken on purpose. The patches are put
// over the sources when the test binary is built (go test -overlay), each behind a
// switch that the environment sets: production code knows nothing of it.
type mutant struct {
	name      string
	invariant string
	patches   []patch
}

// patch replaces a piece of a file that is there once; $ON stands for the switch.
type patch struct{ file, old, new string }

const (
	shardlogDir   = "pkg/shardlog/"
	compactionDir = "services/compactor/compaction/"
	readerDir     = "services/stream-reader/"
)

// mutants is at least one for each invariant. tests/README.md names those that other
// tests catch.
func mutants() []mutant {
	return []mutant{
		{"other bytes on a retry", "I1", []patch{{shardlogDir + "log.go",
			"	g.segment.States = l.w.stateRefs()\n	l.attempt(f)\n",
			`	g.segment.States = l.w.stateRefs()
	if $ON {
		tries, s := 0, g.segment
		f.object = func() []byte {
			tries++
			again := &segment.Segment{Header: s.Header, States: s.States, Entries: s.Entries, Batches: s.Batches}
			again.Header.Window += uint32(tries / 2)
			return again.Encode()
		}
	}
	l.attempt(f)
`}}},
		{"acknowledged before the slots below", "I2", []patch{{shardlogDir + "log.go",
			"	f.resolved = true\n	l.width = ",
			"	f.resolved = true\n	if $ON {\n		f.group.settle(nil)\n		f.group.then = nil\n	}\n	l.width = "}}},
		{"any 412 is taken as its own", "I3", []patch{{shardlogDir + "log.go",
			"	case Exists:\n		l.readBack(f)\n",
			"	case Exists:\n		if $ON {\n			l.resolve(f)\n			return\n		}\n		l.readBack(f)\n"}}},
		{"a seal above the last slot that is listed", "I3", []patch{{shardlogDir + "seal.go",
			"		s.walk(s.exists - min(s.exists, stream.Slot(2*s.window)))\n",
			"		if $ON {\n			s.close(s.exists)\n			return\n		}\n		s.walk(s.exists - min(s.exists, stream.Slot(2*s.window)))\n"}}},
		{"a takeover replays nothing", "I4", []patch{{shardlogDir + "take.go",
			"	n := min(t.end-first, replayWidth)\n",
			"	n := min(t.end-first, replayWidth)\n	if $ON {\n		n = 0\n	}\n"}}},
		{"the reader jumps over a gap", "I5", []patch{{readerDir + "live/follower.go",
			"	if blocks[0].First > pos {\n		return errGap\n	}\n",
			"	if blocks[0].First > pos && !$ON {\n		return errGap\n	}\n"},
			{readerDir + "live/follower.go",
				"		if block.Ref().First > pos {\n			return errGap\n		}\n",
				"		if block.Ref().First > pos && !$ON {\n			return errGap\n		}\n"}}},
		{"a read goes on before the trim point, in the block that it lies in", "I5", []patch{{readerDir + "read/encoder.go",
			"		e.pos = s.from\n",
			"		if $ON && len(s.blocks) > 0 {\n			s.from = s.blocks[0].Ref().First\n		}\n		e.pos = s.from\n"}}},
		{"tails and refusals without a proof", "I6", []patch{{shardlogDir + "proof.go",
			"	if g := p.log.latest(); g != nil {\n",
			"	if $ON {\n		then(nil)\n		return\n	}\n	if g := p.log.latest(); g != nil {\n"}}},
		{"the chain entry before the seal", "I7", []patch{{shardlogDir + "take.go",
			"		t.w.seal(t.head.Owner, t.head.Window, func(end stream.Slot, err error) {\n",
			"		if $ON {\n			t.foundEnd(FromSealed, t.head.FirstSlot)\n			return\n		}\n		t.w.seal(t.head.Owner, t.head.Window, func(end stream.Slot, err error) {\n"}}},
		{"batches accepted while handing over", "I7", []patch{{shardlogDir + "shard.go",
			"	case s == nil || s.status == handing || s.status == handed:\n",
			"	case s == nil || s.status == handing && !$ON || s.status == handed:\n"}}},
		{"the collector deletes the seal", "I8", []patch{{compactionDir + "collect.go",
			"slot < l.End && ctx.Err() == nil; slot++ {",
			"(slot < l.End || slot == l.End && $ON) && ctx.Err() == nil; slot++ {"}}},
		{"slots of a log that is not sealed are collected", "I8", []patch{
			{"pkg/chunkindex/chunkindex.go",
				"func (l Log) Drained() bool { return l.Sealed && l.Watermark == l.End }",
				"func (l Log) Drained() bool { return l.Sealed && l.Watermark == l.End || $ON && l.Watermark > 0 }"},
			{compactionDir + "collect.go",
				"	group.SetLimit(c.options.Parallel)\n	for slot := stream.Slot(0);",
				"	group.SetLimit(c.options.Parallel)\n	if $ON {\n		l.End = l.Watermark\n	}\n	for slot := stream.Slot(0);"},
			{compactionDir + "collect.go",
				"		if owners[l.Log] || !c.options.Mine(logKey(l.Log)) {\n",
				"		if owners[l.Log] && !$ON || !c.options.Mine(logKey(l.Log)) {\n"}}},
		{"slots go before the gone mark", "I8", []patch{{compactionDir + "collect.go",
			"	mark := segment.EncodeEnvelope(segment.KindGone, nil)\n",
			"	if $ON {\n		if err := c.deleteSlots(ctx, l); err != nil {\n			return err\n		}\n	}\n	mark := segment.EncodeEnvelope(segment.KindGone, nil)\n"}}},
		{"slots are collected that are in no chunk", "I8", []patch{
			{compactionDir + "job.go",
				"	job := chunkindex.Job{Log: w.log, From: w.from, To: w.to, Sources: p.sources()}\n",
				"	job := chunkindex.Job{Log: w.log, From: w.from, To: w.to, Sources: p.sources()}\n	if n := len(p.pieces); $ON && n > 3 && p.pieces[n-1].chunk == nil {\n		p.pieces = p.pieces[:n-1]\n	}\n"},
			{compactionDir + "collect.go",
				"	if !l.Gone {\n		if err := c.checkCovered",
				"	if !l.Gone {\n		if err := c.checkCovered; $ON {\n			_ = err\n		} else if err := c.checkCovered"}}},
		{"objects are deleted before their rows", "I8", []patch{{compactionDir + "recover.go",
			"	removed, err := c.index.Remove(ctx, o.ID)\n",
			"	if $ON {\n		if err := c.store.Delete(ctx, segment.ChunkKey(o.ID)); err != nil {\n			return err\n		}\n	}\n	removed, err := c.index.Remove(ctx, o.ID)\n"}}},
		{"any object is collected, with chunks or without", "I8", []patch{
			{"pkg/chunkindex/mem.go",
				"func (o *memObject) dead() bool { return o.State == StateLive && o.LiveBytes == 0 }",
				"func (o *memObject) dead() bool { return o.State == StateLive && (o.LiveBytes == 0 || $ON) }"},
			{"pkg/chunkindex/mem.go",
				" || m.named(id) > 0 {\n",
				" || m.named(id) > 0 && !$ON {\n"}}},
		{"the state goes that the newest chain entry names", "I8", []patch{{compactionDir + "states.go",
			"!s.Before(*floor) || named ||",
			"!s.Before(*floor) || named && !$ON ||"}}},
		{"all states go but the newest", "I8", []patch{{compactionDir + "states.go",
			"	floor := &newest\n",
			"	floor := &newest\n	if $ON {\n		return floor, nil\n	}\n"}}},
		{"old states are kept", "I14", []patch{{compactionDir + "states.go",
			"	if len(states) <= fewStates {\n",
			"	if len(states) <= fewStates || $ON {\n"}}},
		{"the index is written before the chunk", "I8", []patch{{compactionDir + "job.go",
			"	object, about, sums := p.write(id, job, c.options.ChunkBytes)\n",
			"	object, about, sums := p.write(id, job, c.options.ChunkBytes)\n	if $ON {\n		if err := c.index.Publish(ctx, chunkindex.Publication{Object: id, Job: job, Chunks: chunkindex.ChunksOf(about), Replaced: p.replaced, Facts: facts}); err != nil {\n			return err\n		}\n	}\n"}}},
		{"chunks stay in the index that were merged into others", "I9", []patch{{"pkg/chunkindex/mem.go",
			"		m.delete(&p.Replaced[i])\n",
			"		if !$ON || i > 0 {\n			m.delete(&p.Replaced[i])\n		}\n"}}},
		{"the watermark moves without compare-and-set", "I9", []patch{{"pkg/chunkindex/mem.go",
			"(l == nil || l.Watermark != p.From || l.Sealed && l.End < p.To)",
			"(l == nil || l.Watermark != p.From && !$ON || l.Sealed && l.End < p.To)"},
			{"pkg/chunkindex/mem.go",
				"			if have.Overlaps(c.First, c.Next()) && !replaced[have] {\n",
				"			if have.Overlaps(c.First, c.Next()) && !replaced[have] && !$ON {\n"}}},
		{"a merge across a gap", "I9", []patch{{compactionDir + "plan.go",
			"		if c.Next() != first || c.Next() <= trim ||",
			"		if c.Next() != first && !$ON || c.Next() <= trim ||"}}},
		{"its own segment fences a writer", "I10", []patch{{shardlogDir + "log.go",
			"		case got.Identity == l.identity(f):\n			l.resolve(f)\n",
			"		case got.Identity == l.identity(f) && $ON:\n			l.foundSeal(f.slot)\n		case got.Identity == l.identity(f):\n			l.resolve(f)\n"}}},
		{"a conflict counts as created", "I10", []patch{{shardlogDir + "log.go",
			"	case Created:\n		l.resolve(f)\n",
			"	case Created:\n		l.resolve(f)\n	case Conflict:\n		if $ON {\n			l.resolve(f)\n		} else {\n			l.retry(f)\n		}\n"}}},
		{"dedupe forgets what is in flight", "I11", []patch{{shardlogDir + "append.go",
			"	l.producers = append(l.producers, b)\n",
			"	if $ON {\n		return\n	}\n	l.producers = append(l.producers, b)\n"}}},
		{"a session goes on after a refusal", "I11", []patch{
			{shardlogDir + "append.go", "	a.Session.fail()\n	s.w.log.proofs", "	if !$ON {\n		a.Session.fail()\n	}\n	s.w.log.proofs"},
			{shardlogDir + "append.go", "	if err != nil {\n		session.fail()\n	}\n	w.do(Reply{Tag: tag", "	if err != nil && !$ON {\n		session.fail()\n	}\n	w.do(Reply{Tag: tag"}}},
		{"blocks are served whatever their checksum", "I12", []patch{{"pkg/segment/block.go",
			"	if blockChecksum(&b.fields, id, &ref, stored) != ref.Checksum {\n",
			"	if blockChecksum(&b.fields, id, &ref, stored) != ref.Checksum && !$ON {\n"}}},
		{"a put that failed is not tried again", "I13", []patch{{shardlogDir + "log.go",
			"		if !f.due || f.resolved || f.slot >= l.seal {\n",
			"		if !f.due || f.resolved || f.slot >= l.seal || $ON {\n"}}},
		{"places that are gone stay in the cache", "I13", []patch{{readerDir + "read/cursor.go",
			"	c.service.locator.Forget(c.id)\n",
			"	if !$ON {\n		c.service.locator.Forget(c.id)\n	}\n"},
			{"pkg/history/history.go",
				"func (l *Locator) Forget(id stream.ID) { l.cache.drop(id) }",
				"func (l *Locator) Forget(id stream.ID) {\n	if !$ON {\n		l.cache.drop(id)\n	}\n}"}}},
		{"what comes behind a moved block is fetched with it", "I13", []patch{{readerDir + "read/cursor.go",
			"		if relocated {\n			n = 1",
			"		if relocated && !$ON {\n			n = 1"},
			{readerDir + "read/cursor.go",
				"		if logindex.Missing(err) && n > 1 {\n",
				"		if logindex.Missing(err) && n > 1 && !$ON {\n"}}},
		{"four times the window in flight", "I14", []patch{{shardlogDir + "log.go",
			"len(l.flights) < int(l.w.cfg.Window) && l.underWay() < l.width\n",
			"(len(l.flights) < int(l.w.cfg.Window) && l.underWay() < l.width || $ON && len(l.flights) < 4*int(l.w.cfg.Window))\n"}}},
		{"abandoned jobs are left where they are", "I14", []patch{{compactionDir + "recover.go",
			"	return each(ctx, c, c.mine(objects), c.recoverObject)\n",
			"	if $ON {\n		return nil\n	}\n	return each(ctx, c, c.mine(objects), c.recoverObject)\n"}}},
		{"a removed object is not deleted once more", "I14", []patch{{compactionDir + "collect.go",
			"	return each(ctx, c, c.mine(removed), c.forget)\n",
			"	if $ON {\n		return nil\n	}\n	return each(ctx, c, c.mine(removed), c.forget)\n"}}},
	}
}
