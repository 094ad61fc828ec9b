// Package frame writes records as clients receive them: in the protobuf wire form
// of a response, straight from a decoded block, once for all who read them.
//
// A Frame holds consecutive records of one stream, serialized:
//
//	0A len( 0A len( records ) )      ReadSessionResponse{output: {batch: …}}
//	        0A len( records )        ReadResponse{batch: …}
//
// and records is a run of SequencedRecordBatch's field 1, so a part of a frame is
// a part of its bytes. A frame is at most about MaxBytes long, more only for a
// single larger record, and never changes once it is finished.
//
// Budget holds the rules of a read's limits, in one place for records of blocks
// and of frames.
//
// It is not internal: the simulation of the whole system (tests/sim) drives it.
package frame
