// Package client is the Go client of Samsa.
//
// A Client speaks gRPC to one address. From it come handles that cost nothing:
// Client.Bucket, and from that Bucket.Stream. What moves many records are the
// three long-lived objects of a stream:
//
//   - Producer takes single records and makes batches of them.
//   - AppendSession takes batches and keeps many of them in flight.
//   - ReadSession reads up to the tail and then follows it.
//
// # What is promised
//
// An append that returned without an error is durable. An append that failed
// has not happened, unless the error Is ErrOutcomeUnknown. A change of buckets,
// streams or tokens that failed may have happened also if Error.Code is one of
// DATABASE_ERROR, NETWORK_ERROR or INTERNAL_ERROR; it is made again by itself only
// if it surely has not, or if a second one changes nothing more.
//
// A Producer, and an AppendSession with a producer id, number their batches.
// That makes a resend harmless, so both resume by themselves after a failure:
// each batch is appended once and acks come in the order of submission. Without
// a producer id a session resumes only if nothing can have happened, and else
// says of each batch whether it is unknown.
//
// A ReadSession resumes at the record after the last one that it returned: no
// record is missed and none comes twice. Its limits hold over the whole of it,
// not for each connection.
//
// # Resuming with more in flight than the server remembers
//
// A stream remembers the last five batches of a producer. Up to five batches a
// session can send again blindly. With more in flight the session first asks
// where the stream stands, by an append that must be refused because it leaves
// a gap; the refusal names the producer's count. It then goes on five batches
// before that point. The ack of the first of these proves that all earlier ones
// are durable too; their acks are marked Recovered.
//
// # Memory
//
// The records of one ReadSession message share its buffer. Keep a record for
// long with Record.Clone.
package client
