// Package rpc sets up both ends of Samsa's gRPC: servers that answer every
// failure with a typed error and a request id, clients that find an address by
// socket or inside the process, and frames that pass through unread.
//
// # Errors
//
// Every error that leaves a server carries a samsa.v1.ErrorDetail and a
// google.rpc.ErrorInfo. Handlers return an *Error; whatever else they return is
// given the nearest type on its way out (Typed). The contract says that an error
// with a detail means "not appended" unless its code is OUTCOME_UNKNOWN. So on
// the methods that append, an error of which nobody said what it means, a
// recovered panic or a broken connection behind a proxy, becomes
// OUTCOME_UNKNOWN; on every other method it becomes INTERNAL_ERROR or
// SERVICE_UNAVAILABLE. The text of an internal error stays in the log: a client
// gets the request id by which to find it there.
//
// # Request ids
//
// A call brings its id in the metadata x-request-id, or gets one. It goes back
// in the response header and in ErrorDetail.request_id, into the span, the logs
// and, by the Dialer's connections, on to the services that are called next.
//
// # Addresses
//
// "host:port" is a socket. "inproc:name" is a listener of this process in the
// Inproc registry that server and dialer share. "samsa:///role" is any healthy
// instance of a role, resolved by the resolver that the Dialer was given.
package rpc
