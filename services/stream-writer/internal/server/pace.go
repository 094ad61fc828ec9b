package server

import (
	"math"
	"time"
)

// paceMemory is how far back a pace looks, about.
const paceMemory = 2 * time.Second

// pace is how fast bytes become durable while there is a backlog of them: without
// one it would say how many are offered. The zero pace knows nothing.
type pace struct {
	begun time.Time // of the backlog
	at    time.Time // as of when recent counts
	// recent is the bytes stored since begun, older ones fading.
	recent float64
}

// begin forgets what was before: a backlog begins.
func (p *pace) begin(now time.Time) { *p = pace{begun: now, at: now} }

func (p *pace) stored(now time.Time, bytes int64) {
	if p.begun.IsZero() {
		return
	}
	p.recent = p.recent*p.fading(now) + float64(bytes)
	p.at = now
}

func (p *pace) fading(now time.Time) float64 {
	return math.Exp(-now.Sub(p.at).Seconds() / paceMemory.Seconds())
}

// expect is how long so many bytes will take; as long as nothing was stored yet, how
// long that has been so.
func (p *pace) expect(now time.Time, bytes int64) time.Duration {
	age := now.Sub(p.begun)
	if p.begun.IsZero() || age <= 0 {
		return 0
	}
	recent := p.recent * p.fading(now)
	if recent < 1 {
		return age
	}
	// What the memory holds of the time since begun.
	span := paceMemory.Seconds() * (1 - math.Exp(-age.Seconds()/paceMemory.Seconds()))
	seconds := float64(bytes) / (recent / span)
	return time.Duration(min(seconds, 3600) * float64(time.Second))
}
