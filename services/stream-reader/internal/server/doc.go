// Package server is the gRPC face of reading: it decodes and checks requests,
// calls package read and puts what comes back on the wire.
//
// Records arrive here serialized. A message's unknown fields are written as they
// are, so a response that carries a frame is an otherwise empty message with the
// frame's bytes as unknown fields: the codec copies them once and encodes nothing.
package server
