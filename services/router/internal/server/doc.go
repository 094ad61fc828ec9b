// Package server is the router's two doors: native gRPC, and HTTP with REST,
// gRPC over cleartext HTTP/2 and the health paths. One gRPC server stands behind
// both, and behind REST, so every call takes the same way through the same
// interceptors.
package server
