package live

import (
	"sync"
	"time"

	"github.com/samsa-io/samsa/pkg/stream"
)

// feed receives what is announced for one shard, for all followers of its
// streams, and notices what was not.
type feed struct {
	shard stream.Shard
	stop  func() // ends the subscription; nil while there is none. Hub.mu

	mu        sync.Mutex
	followers map[stream.ID]*follower
	known     bool // epoch and last are set
	epoch     stream.Epoch
	last      uint64 // the last slot announced in the epoch, plus one
	beacon    time.Time
	// A beacon named a slot that was not announced; suspected at that time.
	suspect   uint64
	suspected time.Time
	polled    time.Time // while silent
}

func newFeed(shard stream.Shard, now time.Time) *feed {
	return &feed{shard: shard, followers: map[stream.ID]*follower{}, beacon: now}
}

// observe takes note of a notification; it returns why something may have been
// missed, or "".
func (f *feed) observe(epoch stream.Epoch, slot stream.Slot, before uint64) reason {
	last := uint64(slot) + 1
	switch {
	case !f.known || epoch > f.epoch:
		why := reasonEpoch
		if !f.known {
			why = reasonStart
		}
		f.known, f.epoch, f.last, f.suspect = true, epoch, last, 0
		return why
	case epoch < f.epoch:
		return reasonNone // from an owner of the past, late: good records, no news
	}
	missed := before > f.last
	f.last = max(f.last, last)
	if missed {
		return reasonLost
	}
	return reasonNone
}

// observeBeacon does the same for a beacon.
func (f *feed) observeBeacon(b ShardBeacon, now time.Time) reason {
	if f.known && b.Epoch < f.epoch {
		return reasonNone
	}
	f.beacon = now
	switch {
	case !f.known:
		f.known, f.epoch, f.last = true, b.Epoch, b.Last
		return reasonStart
	case b.Epoch > f.epoch:
		f.epoch, f.last, f.suspect = b.Epoch, b.Last, 0
		return reasonEpoch
	case b.Last > f.last && b.Last > f.suspect:
		if f.suspect <= f.last {
			f.suspected = now
		}
		f.suspect = b.Last
	}
	return reasonNone
}

// overdue tells what time has brought to light.
func (f *feed) overdue(now time.Time, c *Config) reason {
	if f.suspect > f.last && now.Sub(f.suspected) >= c.Grace {
		f.last = f.suspect
		return reasonLost
	}
	if now.Sub(f.beacon) > c.Silence && now.Sub(f.polled) >= c.Poll {
		f.polled = now
		return reasonSilence
	}
	return reasonNone
}

// pokeAll makes every follower ask its owner.
func (f *feed) pokeAll(why reason) {
	for _, follower := range f.followers {
		follower.poke(why)
	}
}

// reason says why a follower asks its owner.
type reason string

const (
	reasonNone    reason = ""
	reasonStart   reason = "start"
	reasonGap     reason = "gap"
	reasonLost    reason = "lost"
	reasonEpoch   reason = "epoch"
	reasonSilence reason = "silence"
	reasonChange  reason = "change"
	reasonRecheck reason = "recheck"
	reasonRetry   reason = "retry"
)

// reasons are all of them but none.
func reasons() []reason {
	return []reason{reasonStart, reasonGap, reasonLost, reasonEpoch, reasonSilence, reasonChange, reasonRecheck, reasonRetry}
}
