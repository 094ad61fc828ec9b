// Package clienttest runs a Samsa server in memory, for tests of the client and
// of programs that use it. It keeps the API's rules on names, limits,
// conditions, timestamps, producers, trimming and reading limits; it keeps
// nothing on disk and expires nothing. Faults makes it fail at chosen points.
package clienttest
