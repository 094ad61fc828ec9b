package shardlog

import "github.com/samsa-io/samsa/pkg/segment"

// survey answers with a page of a shard's streams whose records can expire. Nothing
// is proved: what is done on the strength of it is an entry in the log, which holds
// only if this incarnation still owns the shard.
func (w *Writer) survey(q Survey) {
	s := w.shards[q.Shard]
	if s == nil || s.status != owned {
		w.fail(q.Tag, w.notOwner(q.Shard))
		return
	}
	page := Page{Durable: w.log.durable}
	page.Next = s.durable.page(q.From, max(q.Limit, 1), func(st *segment.StreamState) {
		if st.Config.RetentionSeconds > 0 && st.Trim < st.Tail {
			page.Streams = append(page.Streams, s.view(st))
		}
	})
	w.do(Reply{Tag: q.Tag, Page: page})
}
