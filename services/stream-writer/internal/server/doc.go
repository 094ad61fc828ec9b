// Package server is the gRPC face of a stream-writer: it decodes and checks
// requests, hands them to the writer and encodes what comes back. It holds no
// rule of the log; the rules of a single request, which need no state, are here.
package server
