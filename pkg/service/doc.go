// Package service is the frame that every Samsa program runs in.
//
// A program is a main.go that names its configuration and its modules:
//
//	func main() {
//		cfg := config.Default()
//		service.Main(service.Program{
//			Name: "stream-writer", Config: &cfg.Platform, Sections: cfg.Sections(),
//			Module: func() fx.Option { return app.Module(cfg) },
//		})
//	}
//
// Platform provides what services share (logger, store, database, discovery, …);
// each part is built only when something asks for it, so a program without a
// database needs none. Several modules fit in one app, as in `samsa dev`.
//
// "stream-writer health", with the same configuration, asks the running program's
// /readyz and exits with 0 if it is ready: the health check of images without a shell.
//
// # Servers
//
// A module runs its gRPC server with Host.Serve. The order in which it stops:
//
//  1. /readyz and the gRPC health service say no, the registration is withdrawn
//  2. a moment passes for that to spread (server.drain_delay_ms)
//  3. Endpoint.Drain: live sessions end with a hint to retry, shards go over
//  4. calls under way end (server.drain_timeout_ms), or are cut off
//
// Then, in reverse order of construction, whatever the server was built from.
// Every step has a budget of its own, all smaller than StopTimeout: past that fx
// runs no more hooks.
//
// # What may be down at the start
//
// The object store must be there: without it nothing can be true. Postgres, etcd
// and NATS need not be: each is retried for ever with a line in the log, and
// shows as degraded in /readyz until it answers.
package service
