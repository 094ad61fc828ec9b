// Package cluster starts real Samsa systems for tests: `samsa dev`, or one process
// for each service with real etcd, NATS, Postgres and S3 beside them, all on
// loopback.
//
// The programs are built once for each test binary, with the race detector if the
// test binary has it. Each runs in a process group of its own and ends with the
// test, however the test ends. Tests stop, pause, kill and restart them by name.
// When a test fails, the ends of their logs are printed; a data race, a panic or
// a fatal error in a log fails the test by itself.
//
// A test binary that uses the package has
//
//	func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }
package cluster
