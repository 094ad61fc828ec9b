// Package proxy forwards gRPC calls as they are. A message passes as the bytes
// it came in; only the first one of a call is looked at, for the name of the
// stream that it is about.
//
// # What is sent again
//
// A request is sent a second time only if nothing can have come of the first:
//
//   - no connection to the backend could be had (the request never left),
//   - the backend refused with a NotOwner detail or a typed SERVICE_UNAVAILABLE,
//     before anything was answered,
//   - the call changes nothing and nothing was answered yet.
//
// A session is the same up to its first answer: until then no more than the
// client's first message has been read, so the start can be repeated elsewhere.
// Afterwards its failures are the client's to handle.
//
// # What the client sees
//
// Statuses with an ErrorDetail pass untouched, and so do statuses that a backend
// chose without one. A broken connection becomes OUTCOME_UNKNOWN if the call may
// have changed something, else SERVICE_UNAVAILABLE. A NotOwner detail never
// leaves: it becomes SERVICE_UNAVAILABLE with a RetryInfo.
//
// # Flow
//
// One goroutine per direction carries one message at a time, so a slow side
// stops the other through HTTP/2 flow control and nothing piles up here. The
// backend's call lives in the client's context: a client that goes ends it, and
// a backend that ends the call ends the client's.
package proxy
