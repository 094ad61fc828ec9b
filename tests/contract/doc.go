// Package contract checks a running Samsa against its API contract: each rule has
// a test that names it.
//
// [Suite] is a library: its methods named Test… are the rules, and Run runs them
// all against one target. Rules that REST has too go through both doors of the
// router, gRPC and REST, by the same code: REST is dressed up as a gRPC
// connection that translates calls into HTTP requests.
package contract
