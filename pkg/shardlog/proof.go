package shardlog

import (
	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// proofs answers the question "was this log still unsealed at some moment after I
// asked, and is all that I have seen of it durable?".
//
// An owner that was fenced without noticing would answer from the past, and
// refuse what its successor would accept. So each answer that depends on a tail,
// a fencing token or a trim point waits for one of two proofs, begun after the
// question: a slot first put after it is durable as this incarnation's data, or
// the next free slot was seen absent and every lower slot is durable. In both
// cases no seal stood below that slot at that moment, so no successor did either.
type proofs struct {
	log     *ownLog
	probing bool
	probed  []func(error) // who the probe under way is for
	asked   []func(error) // who has asked since it began
	tries   tries         // of the probe under way
}

// prove calls then(nil) when the proof is made and then(err) when this
// incarnation ends first. What was gathered before is durable by then.
func (p *proofs) prove(then func(error)) {
	if g := p.log.latest(); g != nil {
		g.then = append(g.then, then) // it will be put after this moment
		return
	}
	p.asked = append(p.asked, then)
	if !p.probing {
		p.probe()
	}
}

// probe looks at the next free slot for everyone who has asked so far.
func (p *proofs) probe() {
	p.probing = true
	p.probed, p.asked = append(p.probed, p.asked...), nil
	slot := p.log.next()
	p.log.w.head(segment.SlotKey(p.log.id, slot), func(r HeadDone) {
		p.seen(slot, r)
		if !p.probing && len(p.asked) > 0 {
			p.probe()
		}
	})
}

func (p *proofs) seen(slot stream.Slot, r HeadDone) {
	switch {
	case r.Outcome == Absent:
		p.await(slot)
	case r.Outcome == Found && slot < p.log.next():
		p.await(slot + 1) // put by this incarnation after the questions
	case r.Outcome == Found:
		p.inspect(slot)
	default:
		p.again()
	}
}

// await answers those whom the probe was for once every slot below end is
// durable.
func (p *proofs) await(end stream.Slot) {
	waiting, l := p.probed, p.log
	p.probing, p.probed, p.tries = false, nil, tries{}
	if end <= l.durable {
		for _, then := range waiting {
			then(nil)
		}
		return
	}
	g := l.flights[end-l.durable-1].group
	g.then = append(g.then, waiting...)
}

// inspect reads what stands in a slot that this incarnation has not put: a seal,
// unless it was put meanwhile.
func (p *proofs) inspect(slot stream.Slot) {
	p.log.w.get(segment.SlotKey(p.log.id, slot), segment.TrailerSize, func(r GetDone) {
		if t, err := trailer(r); err == nil && t.Kind == segment.KindSeal {
			p.log.foundSeal(slot)
			return
		}
		p.again()
	})
}

// again probes anew after a pause.
func (p *proofs) again() { p.log.w.later(&p.tries, p.probe) }

func (p *proofs) abandon(err error) {
	waiting := append(p.probed, p.asked...)
	p.probed, p.asked = nil, nil
	for _, then := range waiting {
		then(err)
	}
}
