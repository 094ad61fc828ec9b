package limit

import "sync"

// Places bound how much a key may hold at a time: in all, or of different things.
// The zero limit is none. It is safe for concurrent use.
type Places struct {
	limit    int64
	distinct bool
	exceeded Exceeded
	metrics  *Metrics

	mu   sync.Mutex
	held map[string]map[string]int64 // key → thing → how often
	all  map[string]int64            // key → how much in all
}

// NewPlaces bounds what each key holds to limit; what and setting are for the error.
func NewPlaces(limit int64, what, setting string, m *Metrics) *Places {
	if limit > 0 {
		m.show(setting)
	}
	return &Places{
		limit: limit, metrics: m, exceeded: Exceeded{What: what, Key: setting, Limit: limit},
		held: map[string]map[string]int64{}, all: map[string]int64{},
	}
}

// NewDistinct is NewPlaces, but what is held several times counts once.
func NewDistinct(limit int64, what, setting string, m *Metrics) *Places {
	p := NewPlaces(limit, what, setting, m)
	p.distinct = true
	return p
}

// Enter takes a place for a thing until leave is called, once; or fails with an
// *Exceeded.
func (p *Places) Enter(key, thing string) (leave func(), err error) {
	if p.limit <= 0 {
		return func() {}, nil
	}
	if !p.take(key, thing) {
		p.metrics.exceeded(p.exceeded.Key)
		e := p.exceeded
		return nil, &e
	}
	return sync.OnceFunc(func() { p.leave(key, thing) }), nil
}

func (p *Places) take(key, thing string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	things := p.held[key]
	taken := p.all[key]
	if p.distinct {
		taken = int64(len(things))
	}
	if taken >= p.limit && (!p.distinct || things[thing] == 0) {
		return false
	}
	if things == nil {
		things = map[string]int64{}
		p.held[key] = things
	}
	things[thing]++
	p.all[key]++
	return true
}

func (p *Places) leave(key, thing string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	things := p.held[key]
	if things[thing]--; things[thing] == 0 {
		delete(things, thing)
	}
	if p.all[key]--; p.all[key] == 0 {
		delete(p.all, key)
		delete(p.held, key)
	}
}
