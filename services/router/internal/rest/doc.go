// Package rest is the API as JSON over HTTP. grpc-gateway turns requests into
// gRPC calls on a connection to the router's own gRPC server, so a REST call
// passes the same interceptors and the same proxy as any other.
//
// # Names
//
// A stream's name is one path segment, percent-encoded: "a/b" is a%2Fb. The path
// is never cleaned, so %2E%2E and a%2F..%2Fb are names like others, and '+' is a
// plus. Each segment is decoded exactly once.
//
// # Text
//
// protojson carries bytes as base64. With ?text=true the bodies and headers of
// records are plain strings instead. What is not UTF-8 then stands, as base64,
// in a field of the same name with the suffix _base64 (body_base64, name_base64,
// value_base64), in place of the plain one; such fields are taken in appends,
// too. So a text read never stumbles over a binary record.
//
// # Strictness
//
// Unknown query parameters and unknown JSON fields are errors, since a misspelt
// condition must not become an unconditional append. Which parameters an
// operation has is read from the OpenAPI document that is also served.
package rest
