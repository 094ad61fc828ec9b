package survey

import (
	"slices"
	"sort"

	"github.com/samsa-io/samsa/pkg/stream"
)

type span struct{ first, next stream.SeqNum }

// spans are positions of a stream, ascending, which do not touch.
type spans []span

// add takes positions in.
func (s spans) add(first, next stream.SeqNum) spans {
	if first >= next {
		return s
	}
	from := sort.Search(len(s), func(i int) bool { return s[i].next >= first })
	to := from
	for to < len(s) && s[to].first <= next {
		first, next = min(first, s[to].first), max(next, s[to].next)
		to++
	}
	return slices.Replace(s, from, to, span{first, next})
}

// gaps are the positions of [first, next) that are not in.
func (s spans) gaps(first, next stream.SeqNum) (out spans) {
	for _, in := range s {
		if in.next <= first {
			continue
		}
		if in.first >= next {
			break
		}
		if in.first > first {
			out = append(out, span{first, in.first})
		}
		first = in.next
	}
	if first < next {
		out = append(out, span{first, next})
	}
	return out
}
