package shardlog

import (
	"slices"

	"github.com/samsa-io/samsa/pkg/segment"
	"github.com/samsa-io/samsa/pkg/stream"
)

// How much of its producers a stream remembers.
const (
	producersKept       = 64
	producerBatchesKept = 5
	// forgottenKept is how many producers beyond those are known to have been here.
	forgottenKept = 1024
)

// A producer's first batch looks the same whether it is new or sent again. So that
// one which is sent again very late is not appended twice, a stream must know of
// each producer id whether it was here before, and it must do so in bounded room:
//
//   - the last producersKept producers are remembered with their last batches
//   - of the forgottenKept before those a hash of the id is kept, and the time in it
//     if it is a UUIDv7
//   - of all before those the greatest time in an id, and whether any had none
//
// A producer that is not among the first two is new for certain if its id is a
// UUIDv7 later than that time, or, with any other id, if no producer with such an id
// was ever dropped. Whatever is not new for certain gets ErrOutcomeUnknown. Nothing
// depends on a clock: a UUIDv7 that was here is never later than the greatest one
// dropped. A client whose clock is slow, or that first sends after a thousand younger
// producers, is refused, not appended twice.
//
// An id far in the future would have all later ones refused once it is dropped;
// therefore new ids from farther ahead than futureProducer are refused.

// futureProducer is how many milliseconds a producer's id may be ahead of the
// writer's clock.
const futureProducer = 24 * 60 * 60 * 1000

// remember adds a batch to what a stream knows of its producers, and drops what is
// too old. Producers stand in the order of their last batch.
func remember(st *segment.StreamState, b segment.ProducerBatch) {
	batches := []segment.ProducerBatch(nil)
	if i := producerIndex(st.Producers, b.ID); i >= 0 {
		batches = st.Producers[i]
		st.Producers = slices.Delete(st.Producers, i, i+1)
	}
	if len(batches) == producerBatchesKept {
		batches = slices.Delete(batches, 0, 1)
	}
	if len(st.Producers) == producersKept {
		forget(&st.Forgotten, st.Producers[0][0].ID)
		st.Producers = slices.Delete(st.Producers, 0, 1)
	}
	st.Producers = append(st.Producers, append(batches, b))
}

// forget notes that a producer is not remembered any more.
func forget(f *segment.Forgotten, id string) {
	if len(f.Last) == forgottenKept {
		if oldest := f.Last[0]; oldest.Millis == 0 {
			f.Untimed = true
		} else {
			f.Millis = max(f.Millis, oldest.Millis)
		}
		f.Last = slices.Delete(f.Last, 0, 1)
	}
	millis, _ := stream.ProducerTime(id)
	f.Last = append(f.Last, segment.ForgottenProducer{Hash: stream.ProducerHash(id), Millis: millis})
}

// mayHave tells whether a producer that is not remembered may be one of those
// forgotten.
func mayHave(f *segment.Forgotten, id string) bool {
	hash := stream.ProducerHash(id)
	if slices.ContainsFunc(f.Last, func(p segment.ForgottenProducer) bool { return p.Hash == hash }) {
		return true
	}
	millis, timed := stream.ProducerTime(id)
	if !timed {
		return f.Untimed
	}
	return millis <= f.Millis
}

func producerIndex(producers [][]segment.ProducerBatch, id string) int {
	return slices.IndexFunc(producers, func(batches []segment.ProducerBatch) bool { return batches[0].ID == id })
}
